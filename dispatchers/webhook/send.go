package webhook

import (
	"context"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/outbound"
)

// The reasons of failed attempts, beside those of package outbound.
const (
	reasonNoAddress        = "no_address"
	reasonNoLink           = "base_url"
	reasonTooLong          = "too_long"
	reasonBadValue         = "bad_value"
	reasonEncoding         = "encoding"
	reasonRedirect         = "redirect"
	reasonGone             = "gone"
	reasonRateLimited      = "rate_limited"
	reasonUnavailable      = "unavailable"
	reasonUnauthorized     = "unauthorized"
	reasonNotFound         = "not_found"
	reasonTooBig           = "too_big"
	reasonRejected         = "rejected"
	reasonUnexpectedStatus = "unexpected_status"
)

const (
	sending = "sending to the webhook"
	// maxAnswer bounds what is read of an answer, in bytes, and drainTime for
	// how long: the status is all that counts, the rest is read only so that
	// the connection can be used again.
	maxAnswer = 64 << 10
	drainTime = time.Second
)

// send makes the request.
func (w *Dispatcher) send(ctx context.Context, r *http.Request) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answer, err := w.transport.RoundTrip(r.WithContext(ctx)) // follows no redirect
	if err != nil {
		w.transport.CloseIdleConnections() // others may have died along with this one
		return outbound.Classify(sending, err)
	}
	defer func() { _ = answer.Body.Close() }()
	defer time.AfterFunc(drainTime, cancel).Stop()
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)

	if slices.ContainsFunc(w.success, func(s statusRange) bool {
		return s.first <= answer.StatusCode && answer.StatusCode <= s.last
	}) {
		return nil
	}
	return failure(answer.StatusCode, answer.Header)
}

// failure says what an answer without success means.
func failure(status int, h http.Header) error {
	if status == http.StatusProxyAuthRequired {
		return outbound.Classify(sending, &outbound.ProxyError{Status: status})
	}
	class, reason, advice := meaning(status)
	e := dispatchers.Fail(class, reason, "the webhook answered %d %s: %s", status, http.StatusText(status), advice)
	if class == dispatchers.Temporary {
		e.RetryAfter = outbound.RetryAfter(h, time.Now())
	}
	return e
}

func meaning(status int) (class dispatchers.Class, reason, advice string) {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return dispatchers.Temporary, outbound.ReasonTimeout, "it did not take the request this time"
	case http.StatusTooManyRequests:
		return dispatchers.Temporary, reasonRateLimited, "too many messages"
	case http.StatusGone:
		return dispatchers.Expired, reasonGone, "the address is gone for good"
	case http.StatusUnauthorized, http.StatusForbidden:
		return dispatchers.Refused, reasonUnauthorized, "check the credentials in header, secret and client_cert"
	case http.StatusNotFound:
		return dispatchers.Refused, reasonNotFound, "check url"
	case http.StatusRequestEntityTooLarge:
		return dispatchers.Refused, reasonTooBig, "the message is too big"
	}
	switch status / 100 {
	case 5:
		return dispatchers.Temporary, reasonUnavailable, "it failed"
	case 4:
		return dispatchers.Refused, reasonRejected, "it does not take the message; check body and content_type"
	case 3:
		return dispatchers.Refused, reasonRedirect, "redirects are not followed; configure the final url"
	}
	return dispatchers.Refused, reasonUnexpectedStatus, "success does not name this status"
}

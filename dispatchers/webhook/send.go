package webhook

import (
	"context"
	"net/http"
	"slices"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
)

// The reasons of failed attempts, beside those of package httpclient.
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

const sending = "sending to the webhook"

// send makes the request.
func (w *Dispatcher) send(ctx context.Context, r *http.Request) error {
	status, header, err := httpclient.Status(ctx, w.transport, r)
	if err != nil {
		w.transport.CloseIdleConnections() // others may have died along with this one
		return httpclient.Classify(sending, err)
	}
	if slices.ContainsFunc(w.success, func(s statusRange) bool { return s.first <= status && status <= s.last }) {
		return nil
	}
	return httpclient.Unsuccessful(sending, "the webhook", status, header, meaning)
}

func meaning(status int) (class dispatchers.Class, reason, advice string) {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return dispatchers.Temporary, httpclient.ReasonTimeout, "it did not take the request this time"
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

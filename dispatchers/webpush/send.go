package webpush

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
)

// The reasons of failed attempts, beside those of package httpclient.
const (
	reasonNoAddress          = "no_address"
	reasonBadAddress         = "bad_address"
	reasonExpired            = "expired"
	reasonEndpointNotAllowed = "endpoint_not_allowed"
	reasonPrivateAddress     = "private_address"
	reasonTooBig             = "too_big"
	reasonEncryption         = "encryption"
	reasonUnsubscribed       = "unsubscribed"
	reasonVAPID              = "vapid"
	reasonRateLimited        = "rate_limited"
	reasonUnavailable        = "unavailable"
	reasonRedirect           = "redirect"
	reasonRejected           = "rejected"
	reasonUnexpectedStatus   = "unexpected_status"
)

const (
	sending = "sending to the push service"
	// defaultTTL is for messages whose end is not known.
	defaultTTL = 5 * time.Minute
)

// request makes the request for a message, but for its context.
func (p *Dispatcher) request(m *dispatchers.Message) (*http.Request, error) {
	now := time.Now()
	s, err := p.subscription(m.Address, now)
	if err != nil {
		return nil, err
	}
	content := m.Envelope.JSON()
	if len(content) > maxContent {
		return nil, dispatchers.Fail(dispatchers.Refused, reasonTooBig,
			"the message has %d bytes, push services take %d; shorten dispatchInformation", len(content), maxContent)
	}
	body, err := encrypt(content, s)
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Broken, reasonEncryption, "encrypting for the push subscription: %w", err)
	}
	authorization, err := p.vapid.Value().authorization(s.endpoint, now)
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Broken, reasonVAPID, "signing with the VAPID key: %w", err)
	}
	r := &http.Request{
		Method:        http.MethodPost,
		URL:           s.endpoint,
		Host:          s.endpoint.Host,
		Header:        http.Header{},
		Body:          io.NopCloser(bytes.NewReader(body)), // without GetBody: the transport repeats nothing
		ContentLength: int64(len(body)),
	}
	r.Header.Set("Authorization", authorization)
	r.Header.Set("Content-Encoding", "aes128gcm")
	r.Header.Set("Content-Type", "application/octet-stream")
	r.Header.Set("TTL", ttl(m.Expires, now))
	r.Header.Set("Topic", topic(m.ID))
	r.Header.Set("Urgency", "high")
	return r, nil
}

// ttl is how long the message is worth keeping, in seconds.
func ttl(expires, now time.Time) string {
	left := defaultTTL
	if !expires.IsZero() {
		left = max(expires.Sub(now), 0)
	}
	return strconv.FormatInt(int64(left/time.Second), 10)
}

// topic makes one message replace another of the same exchange: 32 characters
// of base64url (RFC 8030, section 5.4).
func topic(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}

// send makes the request.
func (p *Dispatcher) send(ctx context.Context, r *http.Request) error {
	status, header, err := httpclient.Status(ctx, p.transport, r)
	switch {
	case errors.Is(err, errNotPublic):
		return dispatchers.Fail(dispatchers.Refused, reasonPrivateAddress,
			"the push service was not contacted: %w; if it is one of the house, name its host in the option allow", errNotPublic)
	case err != nil:
		p.transport.CloseIdleConnections() // others may have died along with this one
		return httpclient.Classify(sending, err)
	}
	return outcome(status, header)
}

// outcome says what an answer means. RFC 8030 has 201, and 202 with receipts;
// push services of UnifiedPush answer 200.
func outcome(status int, h http.Header) error {
	switch status {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent:
		return nil
	}
	return httpclient.Unsuccessful(sending, "the push service", status, h, meaning)
}

func meaning(status int) (class dispatchers.Class, reason, advice string) {
	switch status {
	case http.StatusNotFound, http.StatusGone:
		return dispatchers.Expired, reasonUnsubscribed, "the subscription has ended"
	case http.StatusUnauthorized, http.StatusForbidden:
		// One subscription that was made for another key is no fault of the
		// configuration.
		return dispatchers.Refused, reasonVAPID, "it does not accept the VAPID key; the subscription may be for another one, " +
			"else check the file's subject and the clock"
	case http.StatusRequestEntityTooLarge:
		return dispatchers.Refused, reasonTooBig, "the message is too big"
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return dispatchers.Temporary, httpclient.ReasonTimeout, "it did not take the request this time"
	case http.StatusTooManyRequests:
		return dispatchers.Temporary, reasonRateLimited, "too many messages"
	}
	switch status / 100 {
	case 5:
		return dispatchers.Temporary, reasonUnavailable, "it failed"
	case 4:
		return dispatchers.Refused, reasonRejected, "it does not take the message"
	case 3:
		return dispatchers.Refused, reasonRedirect, "redirects are not followed"
	}
	return dispatchers.Refused, reasonUnexpectedStatus, "this is not an answer of a push service"
}

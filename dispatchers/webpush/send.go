package webpush

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpsend"
)

// The reasons of failed attempts that only web push has.
const (
	reasonExpired            = "expired"
	reasonEndpointNotAllowed = "endpoint_not_allowed"
	reasonPrivateAddress     = "private_address"
	reasonEncryption         = "encryption"
	reasonUnsubscribed       = "unsubscribed"
	reasonVAPID              = "vapid"
)

var statuses = httpsend.Table{
	http.StatusNotFound:     unsubscribed,
	http.StatusGone:         unsubscribed,
	http.StatusUnauthorized: otherKey,
	http.StatusForbidden:    otherKey,
}

var (
	unsubscribed = httpsend.Expired(reasonUnsubscribed, "the subscription has ended")
	// One subscription that was made for another key is not a fault of the
	// configuration.
	otherKey = httpsend.Refused(reasonVAPID,
		"it does not accept the VAPID key; the subscription may be for another one, else check the file's subject and the clock")
)

// request makes the request for a message, but for its context.
func (p *WebPush) request(m *dispatchers.Message) (*http.Request, error) {
	now := time.Now()
	s, err := p.subscription(m.Address, now)
	if err != nil {
		return nil, err
	}
	content := m.Envelope.JSON()
	if len(content) > maxContent {
		return nil, dispatchers.Fail(dispatchers.Refused, dispatchers.ReasonTooBig,
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
	r := httpsend.NewRequest(http.MethodPost, s.endpoint, body)
	r.Header.Set("Authorization", authorization)
	r.Header.Set("Content-Encoding", "aes128gcm")
	r.Header.Set("Content-Type", "application/octet-stream")
	r.Header.Set("TTL", strconv.Itoa(int(m.TimeLeft(now).Seconds())))
	r.Header.Set("Topic", topic(m.ID))
	r.Header.Set("Urgency", "high")
	return r, nil
}

// topic makes one message replace another of the same exchange: 32 characters
// of base64url (RFC 8030, section 5.4).
func topic(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}

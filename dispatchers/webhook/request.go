package webhook

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

// request makes the request for a message, but for its context.
func (p *plan) request(m *dispatchers.Message, now time.Time) (*http.Request, error) {
	own, err := p.values(m)
	if err != nil {
		return nil, err
	}
	u, err := p.url.expand(m, own)
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Refused, reasonBadValue, "filling in the option url: %w", err)
	}
	body, err := p.content(m, own)
	if err != nil {
		return nil, err
	}
	r := &http.Request{
		Method:        p.method,
		URL:           u,
		Host:          u.Host,
		Header:        http.Header{},
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
	}
	if len(body) == 0 && p.method != http.MethodGet {
		r.Body = http.NoBody // the transport would send chunks
	}
	for name, s := range p.headers {
		r.Header.Set(name, strings.TrimSpace(s.expand(m, own, cleanHeader)))
	}
	id := own[idPlaceholder]
	if len(body) > 0 {
		r.Header.Set(contentTypeHeader, p.contentType)
	}
	r.Header.Set(headerID, id)
	// The transport repeats requests by itself if they have this header in its
	// own spelling, or are a GET, and have http.NoBody or a GetBody.
	r.Header["idempotency-key"] = []string{id}
	if len(p.keys) > 0 {
		sign(r.Header, p.keys, id, now, body)
	}
	return r, nil
}

// values returns those of our own placeholders.
func (p *plan) values(m *dispatchers.Message) (values, error) {
	if p.needsAddress && m.Address == "" {
		return nil, dispatchers.Fail(dispatchers.NoTarget, dispatchers.ReasonNoAddress,
			"there is no address for {webhook.address}; see the option address of dispatcher %q", m.Dispatcher)
	}
	if p.needsLink && m.Link == "" {
		return nil, dispatchers.Fail(dispatchers.Broken, dispatchers.ReasonNoLink,
			"there is no link for {oob.link}: configure base_url of dispatcher %q", m.Dispatcher)
	}
	// The id has no dots (Standard Webhooks, signature scheme).
	own := values{addressPlaceholder: m.Address, idPlaceholder: m.DeliveryID()}
	if p.text == nil {
		return own, nil
	}
	text := strings.TrimSpace(p.text.expand(m, own, cleanText))
	if n := segments(text); p.maxSegments > 0 && n > p.maxSegments {
		return nil, dispatchers.Fail(dispatchers.Refused, reasonTooLong,
			"the text needs %d SMS segments and sms_segments allows %d", n, p.maxSegments)
	}
	own[textPlaceholder] = text
	return own, nil
}

func (p *plan) content(m *dispatchers.Message, own values) ([]byte, error) {
	if p.body != nil {
		text := p.body.expand(m, own, p.escape)
		if p.encode != nil {
			return p.encode(text), nil
		}
		return []byte(text), nil
	}
	b := defaultBody{
		ID:         own[idPlaceholder],
		Operation:  string(m.Operation),
		Dispatcher: m.Dispatcher,
		Address:    m.Address,
		Text:       own[textPlaceholder],
		Link:       m.Link,
	}
	switch {
	case len(m.Envelope.Data) == 0: // a notice of an expired target
		b.TargetID, b.DeviceID = m.Expand("{oob.target_id}", nil), m.Expand("{oob.device_id}", nil)
		b.Username = m.Expand("{oob.username}", nil)
	case !m.LinkShort:
		b.Message = m.Envelope.Fields()
		fallthrough
	default:
		b.Title, b.Body = m.Expand("{oob.notification.title}", nil), m.Expand("{oob.notification.body}", nil)
		b.Expires = m.Expires.UTC().Truncate(time.Second)
	}
	body, err := json.Marshal(b)
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Broken, dispatchers.ReasonEncoding, "encoding the message as JSON failed")
	}
	return body, nil
}

// defaultBody is described at Webhook.Body.
type defaultBody struct {
	ID         string            `json:"id"`
	Operation  string            `json:"operation"`
	Dispatcher string            `json:"dispatcher"`
	Address    string            `json:"address,omitempty"`
	Title      string            `json:"title,omitempty"`
	Body       string            `json:"body,omitempty"`
	Text       string            `json:"text,omitempty"`
	Link       string            `json:"link,omitempty"`
	Expires    time.Time         `json:"expires,omitzero"`
	Message    map[string]string `json:"message,omitempty"`
	TargetID   string            `json:"target_id,omitempty"`
	DeviceID   string            `json:"device_id,omitempty"`
	Username   string            `json:"username,omitempty"`
}

package webhook

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpsend"
)

// request makes the request for a message, but for its context.
func (p *plan) request(m *dispatchers.Message, now time.Time) (*http.Request, error) {
	own := map[string]string{addressPlaceholder: m.Address, idPlaceholder: m.DeliveryID()}
	m = p.filled(m, own)
	if err := p.fillText(m, own); err != nil {
		return nil, err
	}
	u, err := p.expandURL(m)
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Refused, reasonBadValue, "filling in the option url: %w", err)
	}
	body, err := p.content(m, own)
	if err != nil {
		return nil, err
	}
	r := httpsend.NewRequest(p.method, u, body)
	for name, value := range p.headers {
		r.Header.Set(name, strings.TrimSpace(m.Expand(value, dispatchers.OneLine)))
	}
	if len(body) > 0 {
		r.Header.Set(contentTypeHeader, p.contentType)
	}
	id := own[idPlaceholder]
	r.Header.Set(headerID, id)
	// In its own spelling this header makes the transport repeat a request that
	// has http.NoBody.
	r.Header["idempotency-key"] = []string{id}
	if len(p.keys) > 0 {
		sign(r.Header, p.keys, id, now, body)
	}
	return r, nil
}

// filled returns the message with what was loaded and our own values in addition
// to its own.
func (p *plan) filled(m *dispatchers.Message, own map[string]string) *dispatchers.Message {
	filled := *m
	filled.Lookup = func(name string) (string, bool) {
		for _, values := range []map[string]string{p.loaded, own} {
			if value, ok := values[name]; ok {
				return value, true
			}
		}
		if m.Lookup == nil {
			return "", false
		}
		return m.Lookup(name)
	}
	return &filled
}

// fillText makes the text of our own values, if what the templates need is there.
func (p *plan) fillText(m *dispatchers.Message, own map[string]string) error {
	if p.used[addressPlaceholder] && m.Address == "" {
		return dispatchers.Fail(dispatchers.NoTarget, dispatchers.ReasonNoAddress,
			"there is no address for {webhook.address}; see the option address of dispatcher %q", m.Dispatcher)
	}
	if p.used["oob.link"] && m.Link == "" {
		return dispatchers.Fail(dispatchers.Broken, dispatchers.ReasonNoLink,
			"there is no link for {oob.link}: configure base_url of dispatcher %q", m.Dispatcher)
	}
	text := strings.TrimSpace(m.Expand(p.text, cleanText))
	if n := segments(text); p.maxSegments > 0 && n > p.maxSegments {
		return dispatchers.Fail(dispatchers.Refused, reasonTooLong,
			"the text needs %d SMS segments and sms_segments allows %d", n, p.maxSegments)
	}
	own[textPlaceholder] = text
	return nil
}

func (p *plan) content(m *dispatchers.Message, own map[string]string) ([]byte, error) {
	if p.body != nil {
		return p.format.encode(m.Expand(*p.body, p.format.escape)), nil
	}
	b := defaultBody{
		ID:         own[idPlaceholder],
		Operation:  string(m.Operation),
		Dispatcher: m.Dispatcher,
		Address:    m.Address,
		Text:       own[textPlaceholder],
		Link:       m.Link,
	}
	if len(m.Envelope.Data) == 0 { // a notice
		b.Event = m.Notice
		b.TargetID, b.DeviceID = m.Expand("{oob.target_id}", nil), m.Expand("{oob.device_id}", nil)
		b.Username = m.Expand("{oob.username}", nil)
	} else {
		b.Title, b.Body = m.Expand("{oob.notification.title}", nil), m.Expand("{oob.notification.body}", nil)
		b.Expires = m.Expires.UTC().Truncate(time.Second)
		if !m.LinkShort {
			b.Message = m.Envelope.Fields()
		}
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
	Event      string            `json:"event,omitempty"`
	TargetID   string            `json:"target_id,omitempty"`
	DeviceID   string            `json:"device_id,omitempty"`
	Username   string            `json:"username,omitempty"`
}

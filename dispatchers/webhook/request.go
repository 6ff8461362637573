package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

// request makes the request for a message, but for its context.
func (w *Dispatcher) request(m *dispatchers.Message, now time.Time) (*http.Request, error) {
	own, err := w.values(m)
	if err != nil {
		return nil, err
	}
	u, err := w.expandURL(m, own)
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Refused, reasonBadValue, "filling in the option url: %w", err)
	}
	body, err := w.content(m, own)
	if err != nil {
		return nil, err
	}
	r := &http.Request{
		Method: w.Method,
		URL:    u,
		Host:   u.Host,
		Header: http.Header{},
		// There is no GetBody: with an Idempotency-Key the transport would
		// repeat the request by itself.
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
	}
	for name, s := range w.headers {
		r.Header.Set(name, strings.TrimSpace(s.expand(m, own, cleanHeader)))
	}
	id := own[idPlaceholder]
	r.Header.Set("Content-Type", w.ContentType)
	r.Header.Set("Idempotency-Key", id)
	if len(w.keys) > 0 {
		sign(r.Header, w.keys, id, now, body)
	}
	return r, nil
}

// values returns those of our own placeholders.
func (w *Dispatcher) values(m *dispatchers.Message) (values, error) {
	if w.needsAddress && m.Address == "" {
		return nil, dispatchers.Fail(dispatchers.NoTarget, reasonNoAddress,
			"there is no address for {webhook.address}; see the option address of dispatcher %q", m.Dispatcher)
	}
	if w.needsLink && m.Link == "" {
		return nil, dispatchers.Fail(dispatchers.Broken, reasonNoLink,
			"there is no link for {oob.link}: configure base_url of dispatcher %q", m.Dispatcher)
	}
	// The id has no dots (Standard Webhooks, signature scheme).
	own := values{addressPlaceholder: m.Address, idPlaceholder: m.DeliveryID()}
	if w.text == nil {
		return own, nil
	}
	text := strings.TrimSpace(w.text.expand(m, own, cleanText))
	if n := segments(text); w.SMSSegments > 0 && n > w.SMSSegments {
		return nil, dispatchers.Fail(dispatchers.Refused, reasonTooLong,
			"the text needs %d SMS segments and sms_segments allows %d", n, w.SMSSegments)
	}
	own[textPlaceholder] = text
	return own, nil
}

var errDotSegment = errors.New("a value makes a dot segment of the path")

// expandURL puts values into path and query. Values that would climb in the
// path are refused, encoded slashes included, because servers differ in what
// they decode when.
func (w *Dispatcher) expandURL(m *dispatchers.Message, own values) (*url.URL, error) {
	rest := setting{template: w.path}.expand(m, own, escapeURL)
	u, err := url.Parse(w.origin + rest)
	if err != nil {
		return nil, errors.New("path or query are not those of a URL")
	}
	for segment := range strings.FieldsFuncSeq(u.Path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if segment == "." || segment == ".." {
			return nil, errDotSegment
		}
	}
	return u, nil
}

func (w *Dispatcher) content(m *dispatchers.Message, own values) ([]byte, error) {
	if w.body != nil {
		return []byte(w.body.expand(m, own, w.escape)), nil
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
		return nil, dispatchers.Fail(dispatchers.Broken, reasonEncoding, "encoding the message as JSON failed")
	}
	return body, nil
}

// defaultBody is described at Dispatcher.Body.
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

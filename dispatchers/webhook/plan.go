package webhook

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/http/httpguts"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
)

// plan is what the options say, checked and ready to make requests of.
type plan struct {
	method       string
	url          urlTemplate
	headers      map[string]template
	contentType  string
	escape       func(string) string
	body         *template // nil for the default
	encode       func(string) []byte
	text         *template
	maxSegments  int // 0: no limit
	keys         [][]byte
	answers      answers
	needsAddress bool
	needsLink    bool
}

// newPlan makes a plan of the options, but for the keys.
func newPlan(w *Webhook, load loader) (*plan, error) {
	p := &plan{
		method:      cmp.Or(w.Method, http.MethodPost),
		maxSegments: w.SMSSegments,
	}
	var err error
	if p.contentType, err = w.contentType(); err != nil {
		return nil, err
	}
	if w.URL == "" {
		return nil, errors.New("url <template> is needed, such as: url https://sms.example.com/messages")
	}
	if p.url, err = newURL(w.URL, load); err != nil {
		return nil, conf.Errorf("url", "url: %w", err)
	}
	if p.headers, err = newHeaders(w.Headers, load); err != nil {
		return nil, conf.Errorf("header", "%w", err)
	}
	if p.text, err = newText(w, load); err != nil {
		return nil, err
	}
	if err := p.setBody(w.Body, load); err != nil {
		return nil, err
	}
	if p.answers, err = newAnswers(w); err != nil {
		return nil, err
	}
	p.needsAddress, p.needsLink = w.uses(addressPlaceholder), w.uses("oob.link")
	return p, nil
}

// reserved headers are the transport's or ours.
var reserved = []string{
	"Connection", "Content-Encoding", "Content-Length", "Expect", "Host", "Idempotency-Key",
	"Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	headerID, headerTimestamp, headerSignature,
}

func newHeaders(given map[string]dispatchers.Template, load loader) (map[string]template, error) {
	headers := make(map[string]template, len(given))
	for _, as := range slices.Sorted(maps.Keys(given)) {
		name, text := textproto.CanonicalMIMEHeaderKey(as), given[as]
		if name == contentTypeHeader {
			continue // it is contentType's
		}
		option := "header " + name
		_, twice := headers[name]
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			return nil, errors.New("header: a name is made of letters, digits, hyphens and underscores, such as X-Api-Key")
		case slices.Contains(reserved, name):
			return nil, fmt.Errorf("%s: it is set otherwise; see the option secret", option)
		case twice:
			return nil, fmt.Errorf("%s is given twice; remove one", option)
		case strings.ContainsFunc(string(text), unicode.IsControl):
			return nil, fmt.Errorf("%s: it holds control characters; remove them", option)
		}
		var err error
		if headers[name], err = newTemplate(option, text, load); err != nil {
			return nil, err
		}
	}
	return headers, nil
}

const contentTypeHeader = "Content-Type"

// contentType returns the media type of the body, which an option or a header
// gives.
func (w *Webhook) contentType() (string, error) {
	given := w.ContentType
	for name, value := range w.Headers {
		if textproto.CanonicalMIMEHeaderKey(name) != contentTypeHeader {
			continue
		}
		if given != "" {
			return "", conf.Errorf("content_type", "content_type is given by a header as well: remove one")
		}
		given = string(value)
	}
	return cmp.Or(given, "application/json"), nil
}

// looksSecret reports whether a header of this name usually is a credential.
func looksSecret(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"auth", "token", "key", "secret", "password", "credential"}, func(word string) bool {
		return strings.Contains(name, word)
	})
}

func newText(w *Webhook, load loader) (*template, error) {
	switch used := w.uses(textPlaceholder); {
	case slices.Contains(w.Text.Placeholders(), textPlaceholder):
		return nil, conf.Errorf("text", "text: it cannot hold itself: take {webhook.text} out")
	case w.Text == "" && w.SMSSegments > 0:
		return nil, conf.Errorf("sms_segments", "sms_segments: there is no text to count; configure text <template>")
	case w.Text == "" && used:
		return nil, errors.New("text <template> is needed: {webhook.text} is used")
	case w.Text == "":
		return nil, nil
	case (w.Body != nil || w.Method == http.MethodGet) && !used:
		return nil, conf.Errorf("text", "text: nothing uses it; put {webhook.text} into body, or url with method GET")
	}
	t, err := newTemplate("text", w.Text, load)
	if err != nil {
		return nil, conf.Errorf("text", "%w", err)
	}
	return &t, nil
}

func (p *plan) setBody(text *dispatchers.Template, load loader) error {
	format, err := formatOf(p.contentType)
	switch {
	case err != nil:
		return conf.Errorf("content_type", "content_type: %w", err)
	case p.method == http.MethodGet && text != nil && *text != "":
		return conf.Errorf("body", "body: method GET has none; put what it holds into url")
	case p.method == http.MethodGet || text != nil && *text == "":
		p.body = &template{} // and none is sent
		return nil
	case text == nil && format.name != "JSON":
		return conf.Errorf("content_type", "body: the default is JSON; configure one of this content_type")
	}
	p.escape, p.encode = format.escape, format.encode
	if text == nil {
		return nil
	}
	t, err := newTemplate("body", *text, load)
	if err != nil {
		return conf.Errorf("body", "%w", err)
	}
	if err := format.check(t.expand(sampleMessage, nil, format.escape)); err != nil {
		return conf.Errorf("body", "body: it is not %s once values are put in: %w", format.name, err)
	}
	p.body = &t
	return nil
}

// uses reports whether any template holds a placeholder.
func (w *Webhook) uses(name string) bool {
	templates := slices.AppendSeq([]dispatchers.Template{w.URL, w.Text}, maps.Values(w.Headers))
	if w.Body != nil {
		templates = append(templates, *w.Body)
	}
	return slices.ContainsFunc(templates, func(t dispatchers.Template) bool {
		return slices.Contains(t.Placeholders(), name)
	})
}

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
	text         *template
	maxSegments  int // 0: no limit
	keys         [][]byte
	success      []statusRange
	needsAddress bool
	needsLink    bool
}

// newPlan makes a plan of the options, but for the keys.
func newPlan(w *Webhook, load loader) (*plan, error) {
	p := &plan{
		method:      cmp.Or(w.Method, http.MethodPost),
		contentType: cmp.Or(w.ContentType, "application/json"),
		maxSegments: w.SMSSegments,
	}
	var err error
	if p.url, err = newURL(w.URL, load); err != nil {
		return nil, conf.Errorf("url", "url: %w", err)
	}
	if p.headers, err = newHeaders(w.Headers, load); err != nil {
		return nil, conf.Errorf("header", "%w", err)
	}
	if p.text, err = newText(w, load); err != nil {
		return nil, err
	}
	if p.body, p.escape, err = newBody(w.Body, p.contentType, load); err != nil {
		return nil, err
	}
	for _, text := range w.Success {
		statuses, err := parseStatus(text)
		if err != nil {
			return nil, conf.Errorf("success", "success: %w", err)
		}
		p.success = append(p.success, statuses)
	}
	if len(p.success) == 0 {
		p.success = []statusRange{{200, 299}}
	}
	p.needsAddress, p.needsLink = w.uses(addressPlaceholder), w.uses("oob.link")
	return p, nil
}

// reserved headers are the transport's or ours.
var reserved = []string{
	"Connection", "Content-Encoding", "Content-Length", "Content-Type", "Expect", "Host", "Idempotency-Key",
	"Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	headerID, headerTimestamp, headerSignature,
}

func newHeaders(given map[string]dispatchers.Template, load loader) (map[string]template, error) {
	headers := make(map[string]template, len(given))
	for _, as := range slices.Sorted(maps.Keys(given)) {
		name, text := textproto.CanonicalMIMEHeaderKey(as), given[as]
		option := "header " + name
		_, twice := headers[name]
		switch {
		case !validHeaderName(name):
			return nil, errors.New("header: a name has only letters, digits and hyphens, such as X-Api-Key")
		case slices.Contains(reserved, name):
			return nil, fmt.Errorf("%s: it is set otherwise; see the options content_type and secret", option)
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

func validHeaderName(name string) bool {
	return name != "" && strings.IndexFunc(name, func(r rune) bool {
		return r != '-' && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
	}) < 0
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
	case w.Body != "" && !used:
		return nil, conf.Errorf("text", "text: nothing uses it; put {webhook.text} into body")
	}
	t, err := newTemplate("text", w.Text, load)
	if err != nil {
		return nil, conf.Errorf("text", "%w", err)
	}
	return &t, nil
}

func newBody(text dispatchers.Template, contentType string, load loader) (*template, func(string) string, error) {
	format, err := formatOf(contentType)
	switch {
	case err != nil:
		return nil, nil, conf.Errorf("content_type", "content_type: %w", err)
	case text == "" && format.name != "JSON":
		return nil, nil, conf.Errorf("content_type", "body: the default is JSON; configure one of this content_type")
	case text == "":
		return nil, format.escape, nil
	}
	t, err := newTemplate("body", text, load)
	if err != nil {
		return nil, nil, conf.Errorf("body", "%w", err)
	}
	if err := format.check(t.expand(sampleMessage, nil, format.escape)); err != nil {
		return nil, nil, conf.Errorf("body", "body: it is not %s once values are put in: %w", format.name, err)
	}
	return &t, format.escape, nil
}

// uses reports whether any template holds a placeholder.
func (w *Webhook) uses(name string) bool {
	templates := slices.AppendSeq([]dispatchers.Template{w.URL, w.Body, w.Text}, maps.Values(w.Headers))
	return slices.ContainsFunc(templates, func(t dispatchers.Template) bool {
		return slices.Contains(t.Placeholders(), name)
	})
}

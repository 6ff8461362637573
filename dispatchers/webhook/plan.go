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

// The placeholders of this dispatcher.
const (
	ownPrefix          = "webhook."
	addressPlaceholder = ownPrefix + "address"
	idPlaceholder      = ownPrefix + "id"
	textPlaceholder    = ownPrefix + "text"
)

// plan is what the options say, checked and ready to make requests of.
type plan struct {
	method      string
	base        string               // of the URL, to which rest is added: see setURL
	rest        dispatchers.Template // path and query
	headers     map[string]dispatchers.Template
	contentType string
	format      format
	body        *dispatchers.Template // nil for the default
	text        dispatchers.Template
	maxSegments int // 0: no limit
	keys        [][]byte
	answers     answers

	load   loader
	loaded map[string]string // the values of {env.…} and {file.…}
	used   map[string]bool   // the names of all placeholders
}

// loader returns the value of a text with placeholders such as {env.NAME}. The
// option is for errors. A plan without one only shows whether the options are
// right.
type loader func(option, text string) (string, error)

// sampleMessage has a value for every placeholder, which shows whether a
// template stays well-formed. The space is not well-formed without quotes.
var sampleMessage = &dispatchers.Message{Lookup: func(string) (string, bool) { return "x x", true }}

func blankPlan(load loader) *plan {
	return &plan{load: load, headers: map[string]dispatchers.Template{}, loaded: map[string]string{}, used: map[string]bool{}}
}

// newPlan makes a plan of the options, but for the keys.
func newPlan(w *Webhook, load loader) (*plan, error) {
	p := blankPlan(load)
	p.method, p.maxSegments = cmp.Or(w.Method, http.MethodPost), w.SMSSegments
	if w.URL == "" {
		return nil, errors.New("url <template> is needed, such as: url https://sms.example.com/messages")
	}
	if err := p.setURL(string(w.URL)); err != nil {
		return nil, conf.Errorf("url", "url: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(w.Headers)) {
		if err := p.setHeader(name, w.Headers[name]); err != nil {
			return nil, conf.Errorf("header", "%w", err)
		}
	}
	if p.contentType != "" && w.ContentType != "" {
		return nil, conf.Errorf("content_type", "content_type is given by a header as well: remove one")
	}
	p.contentType = cmp.Or(p.contentType, w.ContentType, "application/json")
	if err := p.setBody(w.Body); err != nil {
		return nil, err
	}
	if err := p.setText(w); err != nil {
		return nil, err
	}
	var err error
	p.answers, err = newAnswers(w)
	return p, err
}

// take checks a template, and loads the values of {env.…} and {file.…}. They are
// values like any other: escaped, and not expanded again. The label is for errors.
func (p *plan) take(label string, t dispatchers.Template) error {
	for _, name := range t.Placeholders() {
		p.used[name] = true
		switch {
		case strings.HasPrefix(name, ownPrefix) && !slices.Contains([]string{addressPlaceholder, idPlaceholder, textPlaceholder}, name):
			return fmt.Errorf("%s: there are only {webhook.address}, {webhook.id} and {webhook.text}", label)
		case resolvedAtLoad(name):
			// A number is well-formed wherever a value can be.
			value, err := p.value(label, "{"+name+"}", "1")
			if err != nil {
				return err
			}
			p.loaded[name] = value
		}
	}
	if err := t.Check(); err != nil {
		return fmt.Errorf("%s: %w", label, err)
	}
	return nil
}

// value is that of a text, or the sample before the configuration is loaded.
func (p *plan) value(label, text, sample string) (string, error) {
	if p.load == nil {
		return sample, nil
	}
	return p.load(label, text)
}

func resolvedAtLoad(name string) bool {
	return strings.HasPrefix(name, "env.") || strings.HasPrefix(name, "file.")
}

const contentTypeHeader = "Content-Type"

// reserved headers are the transport's or ours.
var reserved = []string{
	"Connection", "Content-Encoding", "Content-Length", "Expect", "Host", "Idempotency-Key",
	"Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	headerID, headerTimestamp, headerSignature,
}

func (p *plan) setHeader(name string, value dispatchers.Template) error {
	name = textproto.CanonicalMIMEHeaderKey(name)
	label := "header " + name
	switch _, twice := p.headers[name]; {
	case !httpguts.ValidHeaderFieldName(name):
		return errors.New("header: a name is made of letters, digits, hyphens and underscores, such as X-Api-Key")
	case slices.Contains(reserved, name):
		return fmt.Errorf("%s: it is set otherwise; see the option secret", label)
	case twice, name == contentTypeHeader && p.contentType != "":
		return fmt.Errorf("%s is given twice; remove one", label)
	case strings.ContainsFunc(string(value), unicode.IsControl):
		return fmt.Errorf("%s: it holds control characters; remove them", label)
	case name == contentTypeHeader:
		p.contentType = string(value) // it has no placeholders
		return nil
	}
	p.headers[name] = value
	return p.take(label, value)
}

func (p *plan) setBody(body *dispatchers.Template) (err error) {
	p.format, err = formatOf(p.contentType)
	switch {
	case err != nil:
		return conf.Errorf("content_type", "content_type: %w", err)
	case p.method == http.MethodGet && body != nil && *body != "":
		return conf.Errorf("body", "body: method GET has none; put what it holds into url")
	case p.method == http.MethodGet || body != nil && *body == "":
		p.body = new(dispatchers.Template) // and none is sent
		return nil
	case body == nil && p.format.name != "JSON":
		return conf.Errorf("content_type", "body: the default is JSON; configure one of this content_type")
	case body == nil:
		return nil
	}
	if err := p.take("body", *body); err != nil {
		return conf.Errorf("body", "%w", err)
	}
	if err := p.format.check(p.filled(sampleMessage, nil).Expand(*body, p.format.escape)); err != nil {
		return conf.Errorf("body", "body: it is not %s once values are put in: %w", p.format.name, err)
	}
	p.body = body
	return nil
}

// setText comes after all that can use the text.
func (p *plan) setText(w *Webhook) error {
	switch used := p.used[textPlaceholder]; {
	case slices.Contains(w.Text.Placeholders(), textPlaceholder):
		return conf.Errorf("text", "text: it cannot hold itself: take {webhook.text} out")
	case w.Text == "" && w.SMSSegments > 0:
		return conf.Errorf("sms_segments", "sms_segments: there is no text to count; configure text <template>")
	case w.Text == "" && used:
		return errors.New("text <template> is needed: {webhook.text} is used")
	case w.Text != "" && p.body != nil && !used:
		return conf.Errorf("text", "text: nothing uses it; put {webhook.text} into body, or url with method GET")
	}
	p.text = w.Text
	if err := p.take("text", w.Text); err != nil {
		return conf.Errorf("text", "%w", err)
	}
	return nil
}

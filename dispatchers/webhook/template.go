package webhook

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
)

// The placeholders of this dispatcher.
const (
	ownPrefix          = "webhook."
	addressPlaceholder = ownPrefix + "address"
	idPlaceholder      = ownPrefix + "id"
	textPlaceholder    = ownPrefix + "text"
)

// values are those of our own placeholders for one message.
type values map[string]string

// template is a text whose {env.…} and {file.…} were resolved when the
// configuration was loaded. The results are values like any other: escaped, and
// not expanded again.
type template struct {
	text   dispatchers.Template
	loaded map[string]string
}

// loader returns the value of a text with placeholders such as {env.NAME}. The
// option is for errors.
type loader func(option, text string) (string, error)

// sampleValue is the loader before the configuration is loaded. A number is
// well-formed wherever a value can be.
func sampleValue(option, _ string) (string, error) {
	if option == "url" {
		return "https://host.example", nil
	}
	return "1", nil
}

// sampleMessage has a value for every placeholder, which shows whether a
// template stays well-formed. The space is not well-formed without quotes.
var sampleMessage = &dispatchers.Message{Lookup: func(string) (string, bool) { return "x x", true }}

func newTemplate(option string, text dispatchers.Template, load loader) (template, error) {
	t := template{text: text, loaded: map[string]string{}}
	for _, name := range text.Placeholders() {
		known := []string{addressPlaceholder, idPlaceholder, textPlaceholder}
		switch {
		case strings.HasPrefix(name, ownPrefix) && !slices.Contains(known, name):
			return t, fmt.Errorf("%s: there are only {webhook.address}, {webhook.id} and {webhook.text}", option)
		case resolvedAtLoad(name):
			value, err := load(option, "{"+name+"}")
			if err != nil {
				return t, err
			}
			t.loaded[name] = value
		}
	}
	if err := text.Check(); err != nil {
		return t, fmt.Errorf("%s: %w", option, err)
	}
	return t, nil
}

func resolvedAtLoad(name string) bool {
	return strings.HasPrefix(name, "env.") || strings.HasPrefix(name, "file.")
}

// expand fills the template with what was loaded, our own values and those of
// the message.
func (t template) expand(m *dispatchers.Message, own values, escape func(string) string) string {
	filled := *m
	filled.Lookup = func(name string) (string, bool) {
		if value, ok := t.loaded[name]; ok {
			return value, true
		}
		if value, ok := own[name]; ok {
			return value, true
		}
		if m.Lookup == nil {
			return "", false
		}
		return m.Lookup(name)
	}
	return filled.Expand(t.text, escape)
}

// urlTemplate is a URL whose scheme and host are fixed, and a template for the
// rest of it.
type urlTemplate struct {
	base string // scheme and host, and what follows them in a placeholder's value
	rest template
}

var errNoHost = errors.New("it is not a URL with a host, such as https://sms.example.com/messages")

// newURL takes placeholders before the path literally, so that {env.NAME} can
// be the scheme and host, or the whole URL.
func newURL(text dispatchers.Template, load loader) (urlTemplate, error) {
	base, rest := cutBase(string(text))
	if names := dispatchers.Template(base).Placeholders(); len(names) > 0 {
		if !slices.ContainsFunc(names, func(name string) bool { return !resolvedAtLoad(name) }) {
			var err error
			if base, err = load("url", base); err != nil {
				return urlTemplate{}, err
			}
		}
	}
	if strings.ContainsAny(base, "{}") {
		return urlTemplate{}, errors.New("scheme and host cannot come from a request; placeholders may be used in path and query")
	}
	origin, path := cutBase(base)
	if !strings.Contains(origin, "://") {
		return urlTemplate{}, errNoHost
	}
	if _, err := httpclient.ServiceURL(origin); err != nil {
		return urlTemplate{}, err
	}
	if strings.Contains(path+rest, "#") {
		return urlTemplate{}, errors.New("a fragment has no meaning here: leave out what begins with #")
	}
	t, err := newTemplate("url", dispatchers.Template(rest), load)
	if err != nil {
		return urlTemplate{}, err
	}
	u := urlTemplate{base, t}
	_, err = u.expand(sampleMessage, nil)
	return u, err
}

// cutBase cuts a URL after its host. Slashes within braces belong to a
// placeholder, such as {file./path}.
func cutBase(text string) (base, rest string) {
	i := 0
	if scheme, after, ok := strings.Cut(text, "://"); ok && !strings.ContainsAny(scheme, "/?#") {
		i = len(text) - len(after)
	}
	inside := false
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c == '{' || c == '}':
			inside = c == '{'
		case !inside && strings.IndexByte("/?#", c) >= 0:
			return text[:i], text[i:]
		}
	}
	return text, ""
}

var errDotSegment = errors.New("a value makes a dot segment of the path")

// expand puts values into path and query. Values that would climb in the path
// are refused, encoded slashes included, because servers differ in what they
// decode when.
func (t urlTemplate) expand(m *dispatchers.Message, own values) (*url.URL, error) {
	u, err := url.Parse(t.base + t.rest.expand(m, own, escapeURL))
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

package webhook

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
)

// setURL takes placeholders before the path literally, so that {env.NAME} can
// be the scheme and host, or the whole URL. Placeholders of a request may be in
// path and query only.
func (p *plan) setURL(text string) (err error) {
	p.base, text = placeholder.CutURL(text)
	names := dispatchers.Template(p.base).Placeholders()
	if len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool { return !resolvedAtLoad(name) }) {
		sample := "https://host.example"
		if strings.HasPrefix(text, "&") { // the value has a query
			sample += "/?a"
		}
		if p.base, err = p.value("url", p.base, sample); err != nil {
			return err
		}
	}
	if strings.ContainsAny(p.base, "{}") {
		return errors.New("scheme and host cannot come from a request; placeholders may be used in path and query")
	}
	origin, path := placeholder.CutURL(p.base)
	if !strings.Contains(origin, "://") {
		return errors.New("it is not a URL with a host, such as https://sms.example.com/messages")
	}
	if _, err := httpclient.ServiceURL(origin); err != nil {
		return err
	}
	if strings.Contains(path+text, "#") {
		return errors.New("a fragment has no meaning here: leave out what begins with #")
	}
	p.rest = dispatchers.Template(text)
	if err := p.take("url", p.rest); err != nil {
		return err
	}
	_, err = p.expandURL(p.filled(sampleMessage, nil))
	return err
}

// expandURL puts values into path and query. Values that would climb in the path
// are refused, encoded slashes included, because servers differ in what they
// decode when.
func (p *plan) expandURL(filled *dispatchers.Message) (*url.URL, error) {
	u, err := url.Parse(p.base + filled.Expand(p.rest, placeholder.EscapeURL))
	if err != nil {
		return nil, errors.New("path or query are not those of a URL")
	}
	for segment := range strings.FieldsFuncSeq(u.Path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if segment == "." || segment == ".." {
			return nil, errors.New("a value makes a dot segment of the path")
		}
	}
	return u, nil
}

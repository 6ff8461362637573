package nevisfido

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// linkParameter carries the encoded envelope in a link (nevisFIDO reference
// guide, link dispatcher).
const linkParameter = "dispatchTokenResponse"

// ErrNoPayload reports a text that is no link with an out-of-band payload.
var ErrNoPayload = errors.New("not a link with a " + linkParameter + " parameter")

// ParseLink takes a link apart into its base URL and the envelope that it
// carries. ErrNoPayload is returned for any other text.
func ParseLink(link string) (base string, e Envelope, err error) {
	start := -1
	for _, before := range []string{"?", "&", "#"} {
		if i := strings.Index(link, before+linkParameter+"="); i >= 0 && (start < 0 || i < start) {
			start = i
		}
	}
	if start < 0 || !strings.Contains(link[:start], ":") {
		return "", Envelope{}, ErrNoPayload
	}
	value := link[start+1+len(linkParameter)+1:]
	rest := ""
	if end := strings.IndexAny(value, "&#"); end >= 0 {
		value, rest = value[:end], value[end:]
	}
	if decoded, err := url.PathUnescape(value); err == nil {
		value = decoded
	}
	e, err = DecodeEnvelope(value)
	if err != nil {
		return "", Envelope{}, err
	}
	base = link[:start]
	if strings.HasPrefix(rest, "&") {
		rest = link[start:start+1] + rest[1:]
	}
	return base + rest, e, nil
}

// Link returns the URL that opens the app with the envelope. The value is
// neither padded nor percent-encoded, because apps take it as it stands. It
// is appended to a query that base already has, and goes before a fragment.
func Link(base string, e Envelope) string {
	base, fragment, hasFragment := strings.Cut(base, "#")
	separator := "?"
	if strings.Contains(base, "?") {
		separator = "&"
		if strings.HasSuffix(base, "?") || strings.HasSuffix(base, "&") {
			separator = ""
		}
	}
	link := base + separator + linkParameter + "=" + e.Encoded()
	if hasFragment {
		link += "#" + fragment
	}
	return link
}

// unsafeSchemes make a browser run or show what the URL itself holds, or a
// file.
var unsafeSchemes = []string{"javascript", "data", "vbscript", "blob", "about", "file", "filesystem", "view-source"}

// ValidBaseURL reports whether a base URL can carry an envelope: an absolute
// URL of any scheme but those by which a browser runs what the URL says,
// without spaces or control characters.
func ValidBaseURL(base string) error {
	u, err := url.Parse(base)
	switch {
	case err != nil || strings.ContainsFunc(base, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return errors.New("not a URL")
	case u.Scheme == "":
		return errors.New("a URL needs a scheme, such as https://app.example.com/open")
	case slices.Contains(unsafeSchemes, u.Scheme):
		return errors.New("a URL of scheme " + u.Scheme + " opens no app: write the one that the app is registered for, such as https://app.example.com/open or myapp://open")
	case (u.Scheme == "https" || u.Scheme == "http") && u.Host == "":
		return errors.New("a web URL needs a host")
	case strings.Contains(base, linkParameter+"="):
		return errors.New("the parameter " + linkParameter + " is added by the dispatcher")
	}
	return nil
}

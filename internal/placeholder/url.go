package placeholder

import (
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// ResolveURL is Resolve for a URL. Values are escaped, as they are parts of a
// path or query, a user or a password. What begins the URL, or is its host, is
// taken as it is, so that {env.NAME} can be a whole URL.
func ResolveURL(option, text string) (string, error) {
	if _, err := Resolve(option, text); err != nil {
		return "", err
	}
	user, host := authority(text)
	at := 0 // behind the last placeholder
	return caddy.NewReplacer().ReplaceFunc(text, func(name string, value any) (any, error) {
		begins := at + strings.Index(text[at:], "{"+name+"}")
		at = begins + len(name)
		if user <= begins && begins < host {
			return value, nil
		}
		return EscapeURL(caddy.ToString(value)), nil
	})
}

// authority returns where the host of a URL begins, or the URL itself, and where
// the host ends. What is within braces belongs to a placeholder.
func authority(text string) (begin, end int) {
	masked := []byte(text)
	inside := false
	for i, c := range masked {
		if inside = c == '{' || inside && c != '}'; inside {
			masked[i] = 'x'
		}
	}
	if scheme, after, found := strings.Cut(string(masked), "://"); found && !strings.ContainsAny(scheme, "/?#&") {
		begin = len(text) - len(after)
	}
	end = len(text)
	if i := strings.IndexAny(string(masked[begin:]), "/?#&"); i >= 0 {
		end = begin + i
	}
	if i := strings.LastIndexByte(string(masked[begin:end]), '@'); i >= 0 {
		return begin + i, end
	}
	return 0, end
}

// CutURL cuts a URL with placeholders after its host, or after a placeholder for a
// whole URL that more of the query follows.
func CutURL(text string) (base, rest string) {
	_, end := authority(text)
	return text[:end], text[end:]
}

// EscapeURL encodes everything that has a meaning in a URL.
func EscapeURL(value string) string {
	return strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
}

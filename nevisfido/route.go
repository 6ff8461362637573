package nevisfido

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode"
)

// Call names the calls of nevisFIDO's HTTP API that concern out-of-band messages.
type Call int

// The calls. Everything else is Other.
const (
	Other            Call = iota
	Dispatch              // POST token/dispatch/<operation>
	CreateTarget          // POST token/dispatch/targets
	QueryTargets          // GET token/dispatch/targets
	ModifyTarget          // PATCH token/dispatch/targets/<id>
	DeleteTarget          // DELETE token/dispatch/targets/<id>
	RegisterResponse      // POST uaf/1.1/registration
	ModifyDevice          // PATCH devices/credentials/<device id>
	DeleteDevice          // DELETE devices/credentials/<device id>
)

// Route is what the method and the path of a request say.
type Route struct {
	Call      Call
	Operation Operation // of Dispatch
	ID        string    // of the dispatch target, or of the device
}

// ErrAmbiguousPath reports a path that some servers would read as one of the
// calls and others would not.
var ErrAmbiguousPath = errors.New("the path is spelled ambiguously: send it without dot segments, backslashes, encoded slashes, suffixes and the like")

// maxPath bounds a path, in bytes. Jetty and Tomcat, with their defaults, take
// no request line of this length.
const maxPath = 8 << 10

// Recognise tells which call a request is. The path is the escaped path as it
// was received; it is normalised for recognition only: percent-decoded once,
// ";parameters" cut from each segment, repeated slashes folded, one trailing
// slash allowed. base is the base path, such as "/nevisfido".
//
// A path that only a more lenient reading takes for a call is refused with
// ErrAmbiguousPath, so that nothing gets round the sidecar. So is a call with a
// suffix, such as authentication.json: servers that match by suffix patterns
// route it to the call, and cut the suffix from an ID. So is a path of more than
// 8 KiB.
func Recognise(base, method, escapedPath string) (Route, error) {
	if !knownMethod(method) {
		return Route{}, nil
	}
	if len(escapedPath) > maxPath {
		return Route{}, ErrAmbiguousPath
	}
	baseSegments := segmentsOf(base)
	segments, exact := normalise(escapedPath)
	if exact {
		switch route := match(baseSegments, method, segments, false); {
		case route.Call == Other:
		case leniently(route.ID) != route.ID, hasSuffix(decode(route.ID)):
			return Route{}, ErrAmbiguousPath // a server that trims would read another ID
		default:
			return route, nil
		}
	}
	for _, reading := range lenientReadings(escapedPath) {
		if match(baseSegments, method, reading, true).Call != Other ||
			match(baseSegments, method, cutSuffix(reading), true).Call != Other {
			return Route{}, ErrAmbiguousPath
		}
	}
	return Route{}, nil
}

func knownMethod(method string) bool {
	switch method {
	case http.MethodPost, http.MethodGet, http.MethodPatch, http.MethodDelete:
		return true
	}
	return false
}

// normalise returns the segments of the canonical reading, and false where the
// path holds something that servers are known to read differently.
func normalise(escapedPath string) (segments []string, exact bool) {
	segments = make([]string, 0, strings.Count(escapedPath, "/")+1)
	for raw := range strings.SplitSeq(escapedPath, "/") {
		raw, _, _ = strings.Cut(raw, ";")
		if raw == "" {
			continue
		}
		segment, err := url.PathUnescape(raw)
		if err != nil || segment == "." || segment == ".." || strings.ContainsAny(segment, "/\\;\x00") {
			return nil, false
		}
		segments = append(segments, segment)
	}
	return segments, true
}

// decode removes percent encoding until nothing changes, within reason.
func decode(path string) string {
	for range 4 {
		decoded, err := url.PathUnescape(path)
		if err != nil || decoded == path {
			break
		}
		path = decoded
	}
	return path
}

// lenientReadings returns the segments as the most forgiving servers would
// read them: decoded until nothing changes, backslashes as slashes, with dot
// segments resolved, dropped and kept.
func lenientReadings(escapedPath string) [][]string {
	path := strings.ReplaceAll(decode(escapedPath), "\\", "/")
	count := strings.Count(path, "/") + 1
	kept, dropped, resolved := make([]string, 0, count), make([]string, 0, count), make([]string, 0, count)
	for raw := range strings.SplitSeq(path, "/") {
		segment, _, _ := strings.Cut(raw, ";")
		if end := strings.IndexAny(segment, "\x00?#"); end >= 0 {
			segment = segment[:end]
		}
		if segment == "" {
			continue
		}
		kept = append(kept, segment)
		switch segment {
		case ".":
			continue
		case "..":
			resolved = resolved[:max(0, len(resolved)-1)]
			continue
		}
		if segment = leniently(segment); segment == "" {
			continue
		}
		dropped = append(dropped, segment)
		resolved = append(resolved, segment)
	}
	return [][]string{kept, dropped, resolved}
}

// cutSuffix changes the segments to what servers see that match by suffix
// patterns: the last one ends at its first dot.
func cutSuffix(segments []string) []string {
	if len(segments) > 0 {
		last := &segments[len(segments)-1]
		*last, _, _ = strings.Cut(*last, ".")
		*last = leniently(*last)
	}
	return segments
}

// maxSuffix is the length of what may be a suffix of an ID. The names of media
// types and servlet mappings (json, html, action) are shorter.
const maxSuffix = 8

// hasSuffix tells whether an ID ends with a dot and a few letters. Other dots
// are the ID's own: no server is known to take them for a suffix.
func hasSuffix(id string) bool {
	suffix := id[strings.LastIndexByte(id, '.')+1:]
	return len(suffix) < len(id) && len(suffix) > 0 && len(suffix) <= maxSuffix &&
		!strings.ContainsFunc(suffix, func(c rune) bool { return (c|0x20) < 'a' || (c|0x20) > 'z' })
}

// leniently returns what servers that trim a segment keep of it.
func leniently(segment string) string {
	segment = strings.TrimFunc(segment, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
	return strings.TrimRightFunc(segment, func(r rune) bool { return r == '.' || unicode.IsSpace(r) || unicode.IsControl(r) })
}

// dotless folds the letters that Java's equalsIgnoreCase takes for an i and
// Unicode's simple folding does not.
var dotless = strings.NewReplacer("\u0131", "i", "\u0130", "i")

func segmentsOf(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// match finds the call that the segments name. With fold the letter case is
// ignored, in Unicode's sense.
func match(base []string, method string, segments []string, fold bool) Route {
	equal := func(a, b string) bool { return a == b || fold && strings.EqualFold(dotless.Replace(a), b) }
	hasPrefix := func(prefix ...string) bool {
		if len(segments) < len(prefix) {
			return false
		}
		for i, want := range prefix {
			if !equal(segments[i], want) {
				return false
			}
		}
		segments = segments[len(prefix):]
		return true
	}
	if !hasPrefix(base...) {
		return Route{}
	}
	switch {
	case hasPrefix("token", "dispatch", "targets"):
		return targetRoute(method, segments)
	case hasPrefix("token", "dispatch"):
		if method == http.MethodPost && len(segments) == 1 {
			for _, op := range Operations() {
				if equal(segments[0], string(op)) {
					return Route{Call: Dispatch, Operation: op}
				}
			}
		}
	case hasPrefix("uaf", "1.1", "registration"):
		if method == http.MethodPost && len(segments) == 0 {
			return Route{Call: RegisterResponse}
		}
	case hasPrefix("devices", "credentials"):
		return deviceRoute(method, segments)
	}
	return Route{}
}

func targetRoute(method string, rest []string) Route {
	switch {
	case len(rest) == 0 && method == http.MethodPost:
		return Route{Call: CreateTarget}
	case len(rest) == 0 && method == http.MethodGet:
		return Route{Call: QueryTargets}
	case len(rest) == 1 && method == http.MethodPatch:
		return Route{Call: ModifyTarget, ID: rest[0]}
	case len(rest) == 1 && method == http.MethodDelete:
		return Route{Call: DeleteTarget, ID: rest[0]}
	}
	return Route{}
}

func deviceRoute(method string, rest []string) Route {
	switch {
	case len(rest) == 1 && method == http.MethodPatch:
		return Route{Call: ModifyDevice, ID: rest[0]}
	case len(rest) == 1 && method == http.MethodDelete:
		return Route{Call: DeleteDevice, ID: rest[0]}
	}
	return Route{}
}

// Package pathsafe is the one reading of URL paths: what a path says by RFC
// 3986, and what more forgiving servers might take it for. It is for
// recognition only; what is forwarded stays as it was received.
package pathsafe

import (
	"net/url"
	"strings"
	"unicode"
)

// MaxLength bounds a path, in bytes. Jetty and Tomcat, with their defaults,
// take no request line of this length.
const MaxLength = 8 << 10

// maxSuffix is the length of what may be a suffix of a segment. The names of
// media types and servlet mappings (json, html, action) are shorter.
const maxSuffix = 8

// Canonical returns the segments of an escaped path: percent-decoded once,
// ";parameters" cut, repeated slashes folded, slashes at the end ignored. It is
// not ok where the path holds what servers are known to read differently: dot
// segments, encoded slashes and semicolons, backslashes, NUL, bad escapes, the
// like in parameters.
func Canonical(escapedPath string) (segments []string, ok bool) {
	segments = make([]string, 0, strings.Count(escapedPath, "/")+1)
	for raw := range strings.SplitSeq(escapedPath, "/") {
		name, parameters, _ := strings.Cut(raw, ";")
		if strings.ContainsAny(decode(parameters), "/\\\x00") {
			return nil, false
		}
		if name == "" {
			continue
		}
		segment, err := url.PathUnescape(name)
		if err != nil || segment == "." || segment == ".." || strings.ContainsAny(segment, "/\\;\x00") {
			return nil, false
		}
		segments = append(segments, segment)
	}
	return segments, true
}

// Lenient returns the segments as the most forgiving servers would read them:
// decoded until nothing changes, backslashes as slashes, segments trimmed, with
// dot segments kept, dropped and resolved; and each of these as servers see it
// that match by suffix patterns, where the last segment ends at its first dot.
// Compare what they return with [EqualFold].
func Lenient(escapedPath string) [][]string {
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
		if segment = trim(segment); segment != "" {
			dropped = append(dropped, segment)
			resolved = append(resolved, segment)
		}
	}
	return [][]string{
		kept, dropped, resolved,
		withoutSuffix(kept), withoutSuffix(dropped), withoutSuffix(resolved),
	}
}

func withoutSuffix(segments []string) []string {
	last := len(segments) - 1
	if last < 0 || !strings.Contains(segments[last], ".") {
		return nil
	}
	name, _, _ := strings.Cut(segments[last], ".")
	return append(segments[:last:last], trim(name))
}

// Ambiguous tells whether a server might read another value than this one out
// of a segment: it would trim it, or cut what ends like a suffix.
func Ambiguous(segment string) bool {
	if trim(segment) != segment {
		return true
	}
	decoded := decode(segment)
	suffix := decoded[strings.LastIndexByte(decoded, '.')+1:]
	return len(suffix) < len(decoded) && len(suffix) > 0 && len(suffix) <= maxSuffix &&
		!strings.ContainsFunc(suffix, func(c rune) bool { return (c|0x20) < 'a' || (c|0x20) > 'z' })
}

// dotless folds the letters that Java's equalsIgnoreCase takes for an i and
// Unicode's simple folding does not.
var dotless = strings.NewReplacer("\u0131", "i", "\u0130", "i")

// EqualFold compares segments as the most forgiving servers do.
func EqualFold(a, b string) bool { return strings.EqualFold(dotless.Replace(a), b) }

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

// trim returns what servers that trim a segment keep of it.
func trim(segment string) string {
	segment = strings.TrimFunc(segment, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
	return strings.TrimRightFunc(segment, func(r rune) bool { return r == '.' || unicode.IsSpace(r) || unicode.IsControl(r) })
}

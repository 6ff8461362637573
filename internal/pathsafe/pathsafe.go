// Package pathsafe is the one reading of URL paths: what a path says by RFC
// 3986, and what more forgiving servers might take it for. It is for
// recognition only; what is forwarded stays as it was received.
package pathsafe

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLength bounds a path, in bytes. Jetty and Tomcat, with their defaults,
// take no request line of this length.
const MaxLength = 8 << 10

// Canonical returns the segments of an escaped path: percent-decoded once,
// ";parameters" cut, repeated slashes folded, slashes at the end ignored. It is
// not ok where the path holds what servers are known to read differently: dot
// segments, encoded slashes and semicolons, backslashes, NUL, bad escapes, the
// like in parameters, and two of these in one segment, of which Jetty 9.4 leaves
// the first in what follows a servlet's mapping.
func Canonical(escapedPath string) (segments []string, ok bool) {
	segments = make([]string, 0, strings.Count(escapedPath, "/")+1)
	for raw := range strings.SplitSeq(escapedPath, "/") {
		name, parameters, _ := strings.Cut(raw, ";")
		if strings.ContainsAny(decode(parameters), "/\\;\x00") {
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
// decoded until nothing changes, backslashes as they are and as slashes, names
// that end at a semicolon or NUL and that do not, segments trimmed, with dot
// segments kept, dropped and resolved; and each of these as servers see it that
// match by suffix patterns, where the last segment ends at its first dot.
// Compare what they return with [EqualFold].
func Lenient(escapedPath string) [][]string {
	paths := []string{decode(escapedPath)}
	if slashes := strings.ReplaceAll(paths[0], "\\", "/"); slashes != paths[0] {
		paths = append(paths, slashes)
	}
	var readings [][]string
	for _, path := range paths {
		readings = append(readings, lenient(path, ends)...)
		if strings.ContainsAny(path, ends) {
			readings = append(readings, lenient(path, "")...)
		}
	}
	return readings
}

// ends are what a name may end at.
const ends = ";\x00?#"

func lenient(path, ends string) [][]string {
	count := strings.Count(path, "/") + 1
	kept, dropped, resolved := make([]string, 0, count), make([]string, 0, count), make([]string, 0, count)
	for segment := range strings.SplitSeq(path, "/") {
		if end := strings.IndexAny(segment, ends); end >= 0 {
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
// of a segment: it would trim it, cut it at a dot as it does with suffixes, or
// read bytes that are not UTF-8 in some other encoding.
func Ambiguous(segment string) bool {
	return trim(segment) != segment || strings.Contains(decode(segment), ".") || !utf8.ValidString(segment)
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

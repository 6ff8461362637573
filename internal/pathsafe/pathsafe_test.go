package pathsafe_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/pathsafe"
)

func TestCanonical(t *testing.T) {
	for path, want := range map[string]string{
		"/a/b":         "a b",
		"//a//b/":      "a b",
		"/a;x=1/b;y":   "a b",
		"/%61/b%20c":   "a b c",
		"":             "",
		"/a/./b":       "-",
		"/a/../b":      "-",
		"/a%2fb":       "-",
		"/a%5cb":       "-",
		"/a\\b":        "-",
		"/a%3bb":       "-",
		"/a%00":        "-",
		"/a%zz":        "-",
		"/a/%2e%2e/b":  "-",
		"/a;%2fb":      "-",
		"/a;\\b":       "-",
		"/a;b;c":       "-",
		"/a;b%3bc":     "-",
		"/a%252fb":     "a%2fb",
		"/a.json":      "a.json",
		"/a/..;/b":     "-",
		"/;x/a/;y=z/b": "a b",
	} {
		segments, ok := pathsafe.Canonical(path)
		got := strings.Join(segments, " ")
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}

func TestLenient(t *testing.T) {
	for path, want := range map[string]string{
		"/a/x/../b":    "a b",
		"/a/./b":       "a b",
		"/a%2fb":       "a b",
		"/a%252fb":     "a b",
		"/a\\b":        "a b",
		"/a/b.json":    "a b",
		"/a/b%2ejson":  "a b",
		"/a/b%00.html": "a b",
		"/a/%20b.":     "a b",
		"/a/b%3bx":     "a b",
		"/a/b%23x":     "a b",
		"/a/%3bx":      "a ;x",
		"/a/x\\0":      "a x\\0",
		"/x/../a/%00x": "a x",
	} {
		if !slices.ContainsFunc(pathsafe.Lenient(path), func(s []string) bool { return strings.Join(s, " ") == want }) {
			t.Errorf("nobody reads %s as %q: %q", path, want, pathsafe.Lenient(path))
		}
	}
}

func TestAmbiguous(t *testing.T) {
	for segment, want := range map[string]bool{
		"d1f3": false, "": false, "\u00e4": false, "a%20b": false,
		"a.7z": true, ".a": true, "a.b.1": true, "a%2e1": true, "\xc1\xa1": true, "\xe4": true,
		"a.json": true, "a%2ejson": true, "a%252ejson": true, " a": true, "a.": true, "a\u00a0": true, "a.XML": true,
	} {
		if got := pathsafe.Ambiguous(segment); got != want {
			t.Errorf("%q: %t, want %t", segment, got, want)
		}
	}
}

func TestEqualFold(t *testing.T) {
	for _, other := range []string{"token", "TOKEN", "to\u212aen"} {
		if !pathsafe.EqualFold(other, "token") {
			t.Errorf("%q is told from token", other)
		}
	}
	if !pathsafe.EqualFold("d\u0131spatch", "dispatch") || pathsafe.EqualFold("tokem", "token") {
		t.Error("letters are compared wrongly")
	}
}

// Whatever the canonical reading is, the lenient ones have it too, but for what
// a server would trim.
func FuzzReadings(f *testing.F) {
	for _, seed := range []string{"/a/b", "/a/%2e%2e/b;x=1//c.json", "/a\\b%00c", "/%252e/%zz", "", "/ a ./b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		segments, ok := pathsafe.Canonical(path)
		readings := pathsafe.Lenient(path)
		if !ok || strings.ContainsAny(path, "%?#\x00") || slices.ContainsFunc(segments, pathsafe.Ambiguous) {
			return
		}
		if !slices.ContainsFunc(readings, func(r []string) bool { return slices.Equal(r, segments) }) {
			t.Fatalf("%q is %q, and none of %q", path, segments, readings)
		}
	})
}

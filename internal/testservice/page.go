package testservice

import (
	"os"
	"strings"
	"testing"
)

// WantGenerated compares the end of a page, below its marker, with what the code
// says. With update, which the command in the marker sets, it writes it.
func WantGenerated(t testing.TB, page, command, want string, update bool) {
	t.Helper()
	marker := "<!-- from here on: " + command + " -->\n"
	text, err := os.ReadFile(page) //nolint:gosec // of tests
	if err != nil {
		t.Fatal(err)
	}
	head, written, found := strings.Cut(string(text), marker)
	switch {
	case !found:
		t.Fatalf("%s lacks the line %s", page, marker)
	case update:
		if err := os.WriteFile(page, []byte(head+marker+want), 0o644); err != nil { //nolint:gosec // a page is for all to read
			t.Fatal(err)
		}
	case written != want:
		t.Errorf("%s is not what the code says: run %s", page, command)
	}
}

package reasons

import (
	"regexp"
	"strings"
	"testing"
)

// Whoever reads a table finds each reason once, as a word that is fit for a label,
// with a meaning.
func TestListsAreInOrder(t *testing.T) {
	word := regexp.MustCompile(`^[a-z][a-z0-9_]{1,31}$`)
	for name, list := range map[string][]Reason{"failures": Failures, "passed": Passed, "targets": Targets, "keys": Keys, "credentials": Credentials} {
		seen := make(map[string]bool)
		for _, r := range list {
			if seen[r.Name] || !word.MatchString(r.Name) || !strings.HasSuffix(r.Meaning, ".") || r.Remedy != "" && !strings.HasSuffix(r.Remedy, ".") {
				t.Errorf("%s: %+v", name, r)
			}
			seen[r.Name] = true
		}
	}
	for reason, want := range map[string]bool{"oauth_refused": true, "unauthorized": true, "timeout": false, "": false} {
		if RefusesCredentials(reason) != want {
			t.Errorf("%q: want %t", reason, want)
		}
	}
}

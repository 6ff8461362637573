package docs

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/reasons"
)

// TestReasonsPage compares reasons.md with the list in the code.
func TestReasonsPage(t *testing.T) {
	const page, marker = "reasons.md", "<!-- from here on: go test ./docs -run ReasonsPage -update -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, written, found := strings.Cut(string(text), marker)
	if !found {
		t.Fatalf("%s lacks the line %s", page, marker)
	}
	var want strings.Builder
	writeReasons(&want, "Of dispatches, attempts and notices that failed", reasons.Failures)
	writeReasons(&want, "Of dispatch calls that passed", reasons.Passed)
	writeReasons(&want, "Of targets that are stale, dropped or unknown", reasons.Targets)
	writeReasons(&want, "Of keys that are refused", reasons.Keys)
	writeReasons(&want, "Of credentials, in the event `credentials_failed`", reasons.Credentials)
	if *update {
		if err := os.WriteFile(page, []byte(head+marker+want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if written != want.String() {
		t.Errorf("%s is not the list of internal/reasons: run go test ./docs -run ReasonsPage -update", page)
	}
}

// writeReasons writes a table, with the dispatchResult where the reasons have one.
func writeReasons(out *strings.Builder, title string, list []reasons.Reason) {
	fmt.Fprintf(out, "\n## %s\n\n", title)
	result, rule := "", ""
	if len(list[0].Classes) > 0 {
		result, rule = " `dispatchResult` |", " --- |"
	}
	fmt.Fprintf(out, "| reason | meaning |%s remedy |\n| --- | --- |%s --- |\n", result, rule)
	for _, r := range list {
		if result != "" {
			result = " " + strings.Join(results(r), ", ") + " |"
		}
		fmt.Fprintf(out, "| `%s` | %s |%s %s |\n", r.Name, r.Meaning, result, r.Remedy)
	}
}

func results(r reasons.Reason) (all []string) {
	for _, class := range r.Classes {
		if result := "`" + string(class.Result()) + "`"; !slices.Contains(all, result) {
			all = append(all, result)
		}
	}
	return all
}

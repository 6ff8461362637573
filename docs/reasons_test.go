package docs

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/reasons"
)

// TestReasonsPage compares reasons.md with the list in the code.
func TestReasonsPage(t *testing.T) {
	var want strings.Builder
	writeReasons(&want, "Of dispatches, attempts and notices that failed", reasons.Failures)
	writeReasons(&want, "Of dispatch calls that passed", reasons.Passed)
	writeReasons(&want, "Of targets that are stale, dropped or unknown", reasons.Targets)
	writeReasons(&want, "Of keys that are refused", reasons.Keys)
	writeReasons(&want, "Of credentials, in the event `credentials_failed`", reasons.Credentials)
	wantGenerated(t, "reasons.md", "ReasonsPage", want.String())
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

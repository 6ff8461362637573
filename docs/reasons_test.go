package docs

import (
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
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

// usedReasons has where each reason is used, by the class of the failure; "" for one
// whose class the place does not tell.
type usedReasons map[string]map[dispatchers.Class]string

func (u usedReasons) add(reason string, class dispatchers.Class, where string) {
	if u[reason] == nil {
		u[reason] = make(map[dispatchers.Class]string)
	}
	u[reason][class] = where
}

// classes are the constants of package dispatchers, and the functions there that
// make failures of the class.
var classes = map[string]dispatchers.Class{
	"Expired": dispatchers.Expired, "NoTarget": dispatchers.NoTarget, "NoKey": dispatchers.NoKey,
	"Refused": dispatchers.Refused, "Temporary": dispatchers.Temporary, "Broken": dispatchers.Broken,
}

var failing = regexp.MustCompile(`^(dispatchers|internal/(delivery|exchange|httpsend|httpclient))(/|$)`)

// failures finds the reasons of failures: those that are given to the functions which
// make failures and to members that are called Reason, and the constants that are
// called reason… or Reason….
func (p *product) failures() usedReasons {
	used := make(usedReasons)
	for pkg, within := range p.declarations() {
		if !failing.MatchString(pkg.path) {
			continue
		}
		note := func(e ast.Expr, class dispatchers.Class) {
			for _, reason := range p.strings(pkg, within, e) {
				used.add(reason, class, p.fset.Position(e.Pos()).String())
			}
		}
		ast.Inspect(within, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if reason, class := failure(n); reason != nil {
					note(reason, class)
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Reason" {
					note(n.Value, "")
				}
			}
			return true
		})
	}
	for _, reason := range p.constants(failing, regexp.MustCompile(`^[Rr]eason`)) {
		used.add(reason, "", "a constant")
	}
	return used
}

// failure returns the reason and the class of a call that makes a failure; nil for
// any other.
func failure(call *ast.CallExpr) (reason ast.Expr, class dispatchers.Class) {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) < 2 || selected(f) != "dispatchers" && selected(f) != "httpsend" {
		return nil, ""
	}
	if f.Sel.Name == "Fail" {
		if s, ok := call.Args[0].(*ast.SelectorExpr); ok {
			class = classes[s.Sel.Name]
		}
		return call.Args[1], class
	}
	if class = classes[f.Sel.Name]; class == "" {
		return nil, ""
	}
	return call.Args[0], class
}

// TestFailuresAreThoseOfTheCode: every reason that the code gives a failure is on the
// list with its class, and the list has no others.
func TestFailuresAreThoseOfTheCode(t *testing.T) {
	failures := readProduct(t).failures()
	for name, used := range failures {
		i := slices.IndexFunc(reasons.Failures, func(r reasons.Reason) bool { return r.Name == name })
		if i < 0 {
			t.Errorf("%v: the reason %q is not on the list", used, name)
			continue
		}
		for class, where := range used {
			if class != "" && !slices.Contains(reasons.Failures[i].Classes, class) {
				t.Errorf("%s: the list does not say that %q comes with the class %s", where, name, class)
			}
		}
	}
	for _, r := range reasons.Failures {
		if failures[r.Name] == nil {
			t.Errorf("nothing in the code fails for %q", r.Name)
		}
		if len(r.Classes) == 0 {
			t.Errorf("%q has no class", r.Name)
		}
	}
}

// TestOtherReasonsAreThoseOfTheCode does the same for the reasons of calls that pass,
// of targets and of keys, which are constants.
func TestOtherReasonsAreThoseOfTheCode(t *testing.T) {
	p := readProduct(t)
	for _, tt := range []struct {
		path, named string
		list        []reasons.Reason
	}{
		{`^internal/exchange$`, `^Passed`, reasons.Passed},
		{`^encrypt$`, `^Reason`, reasons.Keys},
		{`^targets$`, `^[Ww]hy[A-Z]`, reasons.Targets},
	} {
		got, want := p.constants(regexp.MustCompile(tt.path), regexp.MustCompile(tt.named)), reasons.Names(tt.list)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || len(got) == 0 {
			t.Errorf("%s: the code has %q, the list %q", tt.path, got, want)
		}
	}
}

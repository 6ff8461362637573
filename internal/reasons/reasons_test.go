package reasons

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/encrypt"
)

// code has what the sources of some packages say of reasons.
type code struct {
	constants map[string]map[string]string            // of each folder: name to text
	failures  map[string]map[dispatchers.Class]string // reason to the classes it is used with, and where
}

// failing are the functions that make failures, and the class that their name says.
var failing = map[string]dispatchers.Class{
	"Fail": "", "Expired": expired, "Refused": refused, "Temporary": temporary, "Broken": broken,
}

// classNames are the constants of package dispatchers.
var classNames = map[string]dispatchers.Class{
	"Expired": expired, "NoTarget": noTarget, "NoKey": noKey, "Refused": refused, "Temporary": temporary, "Broken": broken,
}

func read(t *testing.T, rooms ...string) code {
	t.Helper()
	c := code{make(map[string]map[string]string), make(map[string]map[dispatchers.Class]string)}
	files, set := make(map[string]*ast.File), token.NewFileSet()
	for _, room := range rooms {
		err := filepath.WalkDir(filepath.Join("../..", room), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files[path], err = parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for path, file := range files {
		names := c.constants[filepath.Dir(path)]
		if names == nil {
			names = make(map[string]string)
			c.constants[filepath.Dir(path)] = names
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok {
				for i, value := range spec.Values {
					if text, ok := literal(value); ok {
						names[spec.Names[i].Name] = text
					}
				}
			}
			return true
		})
	}
	for path, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				c.call(set, filepath.Dir(path), n)
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Reason" {
					c.note(set, filepath.Dir(path), n.Value, "")
				}
			}
			return true
		})
	}
	return c
}

func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}

// call notes the reason of a call that makes a failure.
func (c code) call(set *token.FileSet, dir string, call *ast.CallExpr) {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) < 2 {
		return
	}
	class, ok := failing[f.Sel.Name]
	if pkg, isPackage := f.X.(*ast.Ident); !ok || !isPackage || pkg.Name != "dispatchers" && pkg.Name != "httpsend" {
		return
	}
	reason := call.Args[0]
	if f.Sel.Name == "Fail" {
		reason = call.Args[1]
		if s, ok := call.Args[0].(*ast.SelectorExpr); ok {
			class = classNames[s.Sel.Name]
		}
	}
	c.note(set, dir, reason, class)
}

// note notes a reason that is a text or the name of a constant. Others are
// variables, whose values are constants that are named reason… or Reason….
func (c code) note(set *token.FileSet, dir string, e ast.Expr, class dispatchers.Class) {
	text, ok := literal(e)
	switch e := e.(type) {
	case *ast.Ident:
		text, ok = c.constants[dir][e.Name]
	case *ast.SelectorExpr:
		if pkg, isPackage := e.X.(*ast.Ident); isPackage {
			for other, names := range c.constants {
				if filepath.Base(other) == pkg.Name && !ok {
					text, ok = names[e.Sel.Name]
				}
			}
		}
	}
	if !ok {
		return
	}
	if c.failures[text] == nil {
		c.failures[text] = make(map[dispatchers.Class]string)
	}
	c.failures[text][class] = set.Position(e.Pos()).String()
}

// Every reason that the code gives a failure is on the list with its class, and the
// list has no others.
func TestFailuresAreThoseOfTheCode(t *testing.T) {
	c := read(t, "dispatchers", "internal/delivery", "internal/exchange", "internal/httpsend", "internal/httpclient")
	for _, names := range c.constants {
		for name, text := range names {
			if strings.HasPrefix(strings.ToLower(name), "reason") && c.failures[text] == nil {
				c.failures[text] = map[dispatchers.Class]string{"": "constant " + name}
			}
		}
	}
	for name, used := range c.failures {
		i := slices.IndexFunc(Failures, func(r Reason) bool { return r.Name == name })
		if i < 0 {
			t.Errorf("%v: the reason %q is not on the list", used, name)
			continue
		}
		for class, where := range used {
			if class != "" && !slices.Contains(Failures[i].Classes, class) {
				t.Errorf("%s: the list does not say that %q comes with the class %s", where, name, class)
			}
		}
	}
	for _, r := range Failures {
		if c.failures[r.Name] == nil {
			t.Errorf("nothing in the code fails for %q", r.Name)
		}
		if len(r.Classes) == 0 {
			t.Errorf("%q has no class", r.Name)
		}
	}
}

// The same for the reasons of calls that pass, of targets and of keys.
func TestOtherReasonsAreThoseOfTheCode(t *testing.T) {
	exchange := read(t, "internal/exchange").constants[filepath.Join("../..", "internal/exchange")]
	var passed []string
	for name, text := range exchange {
		if strings.HasPrefix(name, "Passed") {
			passed = append(passed, text)
		}
	}
	same(t, "passed", passed, Passed)
	var keys []string
	for name, text := range read(t, "encrypt").constants[filepath.Join("../..", "encrypt")] {
		if strings.HasPrefix(name, "Reason") {
			keys = append(keys, text)
		}
	}
	same(t, "keys", keys, Keys)
	if !slices.Contains(keys, string(encrypt.ReasonCurve)) {
		t.Errorf("the reasons of keys that were read are %q", keys)
	}
	var events []string
	for name, text := range read(t, "targets").constants[filepath.Join("../..", "targets")] {
		if regexp.MustCompile(`^(?:why|Why)[A-Z]`).MatchString(name) {
			events = append(events, text)
		}
	}
	same(t, "targets", events, Targets)
}

func same(t *testing.T, kind string, got []string, want []Reason) {
	t.Helper()
	names := Names(want)
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		t.Errorf("%s: the code has %q, the list %q", kind, got, names)
	}
}

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

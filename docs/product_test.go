package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"iter"
	"maps"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/oob-dispatch/oob-dispatch/"

// product is the source of what is in the binary, of ours.
type product struct {
	fset     *token.FileSet
	packages []*source
}

// source is a package.
type source struct {
	path  string // from the root of the repository
	files []*ast.File
	vars  map[string]ast.Expr // package-level constants and variables
}

func readProduct(t *testing.T) *product {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "../cmd/caddy").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	p := &product{fset: token.NewFileSet()}
	for line := range strings.Lines(string(out)) {
		room, ours := strings.CutPrefix(strings.TrimSpace(line), modulePath)
		if !ours {
			continue
		}
		pkg := &source{path: room, vars: make(map[string]ast.Expr)}
		names, err := filepath.Glob(filepath.Join("..", room, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(p.fset, name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			pkg.files = append(pkg.files, file)
			for _, d := range file.Decls {
				if d, ok := d.(*ast.GenDecl); ok {
					pkg.declare(d)
				}
			}
		}
		p.packages = append(p.packages, pkg)
	}
	return p
}

// declarations yields all of all packages.
func (p *product) declarations() iter.Seq2[*source, ast.Decl] {
	return func(yield func(*source, ast.Decl) bool) {
		for _, pkg := range p.packages {
			for _, file := range pkg.files {
				for _, d := range file.Decls {
					if !yield(pkg, d) {
						return
					}
				}
			}
		}
	}
}

// name returns the path of a file, or of a place in it, from the root.
func (p *product) name(at ast.Node) string {
	return strings.TrimPrefix(filepath.ToSlash(p.fset.Position(at.Pos()).Filename), "../")
}

func (pkg *source) declare(d *ast.GenDecl) {
	for _, spec := range d.Specs {
		if v, ok := spec.(*ast.ValueSpec); ok {
			for i, name := range v.Names {
				if i < len(v.Values) {
					pkg.vars[name.Name] = v.Values[i]
				}
			}
		}
	}
}

// values returns what an expression can be, as far as the source tells without
// types: a name stands for all that is assigned to it in the same function, or
// in the package, an element of a map for all that the map has.
func (pkg *source) values(within ast.Node, e ast.Expr) []ast.Expr {
	switch e := e.(type) {
	case *ast.Ident:
		var all []ast.Expr
		ast.Inspect(within, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					if id, ok := left.(*ast.Ident); ok && id.Name == e.Name && i < len(n.Rhs) {
						all = append(all, pkg.values(within, n.Rhs[i])...)
					}
				}
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if name.Name == e.Name && i < len(n.Values) {
						all = append(all, pkg.values(within, n.Values[i])...)
					}
				}
			}
			return true
		})
		if v := pkg.vars[e.Name]; len(all) == 0 && v != nil {
			return pkg.values(v, v)
		}
		if len(all) > 0 {
			return all
		}
	case *ast.IndexExpr:
		var all []ast.Expr
		for _, m := range pkg.values(within, e.X) {
			if m, ok := m.(*ast.CompositeLit); ok {
				for _, element := range m.Elts {
					if kv, ok := element.(*ast.KeyValueExpr); ok {
						all = append(all, pkg.values(within, kv.Value)...)
					}
				}
			}
		}
		return all
	}
	return []ast.Expr{e}
}

// strings returns the constant texts that an expression can be; the text of an
// error made by errors.New is one.
func (pkg *source) strings(within ast.Node, e ast.Expr) (texts []string) {
	for _, v := range pkg.values(within, e) {
		switch v := v.(type) {
		case *ast.BasicLit:
			if text, err := strconv.Unquote(v.Value); err == nil && v.Kind == token.STRING {
				texts = append(texts, text)
			}
		case *ast.BinaryExpr:
			left, right := pkg.strings(within, v.X), pkg.strings(within, v.Y)
			if len(left) == 1 && len(right) == 1 {
				texts = append(texts, left[0]+right[0])
			}
		case *ast.CallExpr:
			if f, ok := v.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "New" && selected(f) == "errors" {
				texts = append(texts, pkg.strings(within, v.Args[0])...)
			}
		}
	}
	return texts
}

// strings are those of an expression in a package, which may be a constant of another.
func (p *product) strings(pkg *source, within ast.Node, e ast.Expr) []string {
	if s, ok := e.(*ast.SelectorExpr); ok {
		for _, other := range p.packages {
			if v := other.vars[s.Sel.Name]; v != nil && path.Base(other.path) == selected(s) {
				return other.strings(v, v)
			}
		}
	}
	return pkg.strings(within, e)
}

// constants are the texts of package-level names of packages.
func (p *product) constants(in, named *regexp.Regexp) (texts []string) {
	for _, pkg := range p.packages {
		for name, value := range pkg.vars {
			if in.MatchString(pkg.path) && named.MatchString(name) {
				texts = append(texts, pkg.strings(value, value)...)
			}
		}
	}
	return texts
}

// auditEvents is the one place whose messages are no constants: the events of
// "audit log", which audit.md has.
const auditEvents = "caddymodule/audit_line.go"

// levels are the methods of a logger, and which argument is the message.
var levels = map[string]int{
	"Debug": 0, "Info": 0, "Warn": 0, "Error": 0,
	"DebugContext": 1, "InfoContext": 1, "WarnContext": 1, "ErrorContext": 1,
	"LogAttrs": 2, "Log": 2,
}

// logMessages are the rows of the log messages, with their levels.
func (p *product) logMessages(t *testing.T) (rows []string) {
	t.Helper()
	found := make(map[string]map[string]bool) // levels by message
	for pkg, within := range p.declarations() {
		ast.Inspect(within, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				method, at := logging(n.Fun)
				if method == "" || len(n.Args) <= at {
					return true
				}
				texts := pkg.strings(within, n.Args[at])
				if len(texts) == 0 && p.name(n) != auditEvents {
					t.Errorf("%s: the message of this log line is not a constant, so that the catalogue cannot have it", p.fset.Position(n.Pos()))
				}
				for _, text := range texts {
					if found[text] == nil {
						found[text] = make(map[string]bool)
					}
					for _, level := range pkg.levelsOf(within, method, n) {
						found[text][level] = true
					}
				}
			case *ast.AssignStmt:
				for _, right := range n.Rhs {
					if method, _ := logging(right); method != "" {
						t.Errorf("%s: a method of a logger in a variable hides its messages from the catalogue: call it where they are", p.fset.Position(n.Pos()))
					}
				}
			}
			return true
		})
	}
	for message, at := range found {
		rows = append(rows, fmt.Sprintf("| `%s` | %s |", message, strings.Join(slices.Sorted(maps.Keys(at)), ", ")))
	}
	slices.SortFunc(rows, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return rows
}

// logging returns the method of a logger that an expression names, and which of its
// arguments is the message; "" for anything else.
func logging(e ast.Expr) (method string, message int) {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || !isLogger(s.X) {
		return "", 0
	}
	message, ok = levels[s.Sel.Name]
	if !ok {
		return "", 0
	}
	return s.Sel.Name, message
}

// levelsOf tells the levels of a call: by the method, or by its second argument.
func (pkg *source) levelsOf(within ast.Node, method string, call *ast.CallExpr) (all []string) {
	if levels[method] < 2 {
		return []string{strings.ToUpper(strings.TrimSuffix(method, "Context"))}
	}
	for _, v := range pkg.values(within, call.Args[1]) {
		if s, ok := v.(*ast.SelectorExpr); ok {
			all = append(all, strings.ToUpper(strings.TrimPrefix(s.Sel.Name, "Level")))
		}
	}
	return all
}

// isLogger judges by the name: log, logger, x.Log, h.logger, r.log(), With of one.
func isLogger(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		name := strings.ToLower(e.Name)
		return name == "log" || name == "logger" || name == "slog"
	case *ast.SelectorExpr:
		return isLogger(e.Sel)
	case *ast.CallExpr:
		s, ok := e.Fun.(*ast.SelectorExpr)
		return ok && (isLogger(s.X) || isLogger(s.Sel))
	}
	return false
}

package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os/exec"
	"path/filepath"
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
		path, ours := strings.CutPrefix(strings.TrimSpace(line), modulePath)
		if !ours {
			continue
		}
		pkg := &source{path: path, vars: make(map[string]ast.Expr)}
		names, err := filepath.Glob(filepath.Join("..", path, "*.go"))
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
	for _, pkg := range p.packages {
		for _, file := range pkg.files {
			for _, d := range file.Decls {
				f := &finder{t: t, product: p, pkg: pkg, within: d, found: found, wrappers: make(map[string]wrapper)}
				ast.Inspect(d, f.wrap)
				ast.Inspect(d, f.visit)
			}
		}
	}
	for message, at := range found {
		rows = append(rows, fmt.Sprintf("| `%s` | %s |", message, strings.Join(slices.Sorted(maps.Keys(at)), ", ")))
	}
	slices.SortFunc(rows, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return rows
}

// finder looks for log messages in a declaration.
type finder struct {
	t       *testing.T
	product *product
	pkg     *source
	within  ast.Decl
	found   map[string]map[string]bool

	wrappers map[string]wrapper // by the variable that holds the function
}

// wrapper is a function literal that logs a message which is its parameter.
type wrapper struct {
	inner          *ast.CallExpr
	method         string
	level, message int // which parameters they are
}

// wrap notes function literals that log.
func (f *finder) wrap(n ast.Node) bool {
	assign, ok := n.(*ast.AssignStmt)
	if !ok || len(assign.Rhs) != 1 {
		return true
	}
	literal, ok := assign.Rhs[0].(*ast.FuncLit)
	if !ok {
		return true
	}
	parameters := make(map[string]int)
	for _, field := range literal.Type.Params.List {
		for _, name := range field.Names {
			parameters[name.Name] = len(parameters)
		}
	}
	parameter := func(e ast.Expr) int {
		if id, ok := e.(*ast.Ident); ok {
			if i, ok := parameters[id.Name]; ok {
				return i
			}
		}
		return -1
	}
	ast.Inspect(literal.Body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if fun, ok := call.Fun.(*ast.SelectorExpr); ok && isLogger(fun.X) {
				if at, ok := levels[fun.Sel.Name]; ok && len(call.Args) > at && parameter(call.Args[at]) >= 0 {
					w := wrapper{inner: call, method: fun.Sel.Name, message: parameter(call.Args[at]), level: -1}
					if at == 2 {
						w.level = parameter(call.Args[1])
					}
					f.wrappers[assign.Lhs[0].(*ast.Ident).Name] = w
				}
			}
		}
		return true
	})
	return true
}

func (f *finder) visit(n ast.Node) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return true
	}
	for _, w := range f.wrappers {
		if w.inner == call {
			return true
		}
	}
	switch fun := call.Fun.(type) {
	case *ast.SelectorExpr:
		if at, ok := levels[fun.Sel.Name]; ok && isLogger(fun.X) && len(call.Args) > at {
			f.logged(call, at, f.levelsOf(fun.Sel.Name, call, 1))
		}
	case *ast.Ident: // a wrapper, or a method of a logger, in a variable
		if w, ok := f.wrappers[fun.Name]; ok {
			f.logged(call, w.message, f.levelsOf(w.method, call, w.level))
			return true
		}
		for _, v := range f.pkg.values(f.within, fun) {
			if method, ok := v.(*ast.SelectorExpr); ok && isLogger(method.X) {
				if at, ok := levels[method.Sel.Name]; ok && len(call.Args) > at {
					f.logged(call, at, f.levelsOf(method.Sel.Name, call, 1))
				}
			}
		}
	}
	return true
}

// levelsOf tells the levels of a call: by the method, or by an argument.
func (f *finder) levelsOf(method string, call *ast.CallExpr, argument int) (all []string) {
	if levels[method] < 2 {
		return []string{strings.ToUpper(strings.TrimSuffix(method, "Context"))}
	}
	for _, v := range f.pkg.values(f.within, call.Args[argument]) {
		if s, ok := v.(*ast.SelectorExpr); ok {
			all = append(all, strings.ToUpper(strings.TrimPrefix(s.Sel.Name, "Level")))
		}
	}
	return all
}

// logged notes the messages that a call can have.
func (f *finder) logged(call *ast.CallExpr, at int, levels []string) {
	f.t.Helper()
	texts := f.pkg.strings(f.within, call.Args[at])
	if len(texts) == 0 && f.product.name(call) != auditEvents {
		f.t.Errorf("%s: the message of this log line is not a constant, so that the catalogue cannot have it", f.product.fset.Position(call.Pos()))
	}
	for _, text := range texts {
		if f.found[text] == nil {
			f.found[text] = make(map[string]bool)
		}
		for _, level := range levels {
			f.found[text][level] = true
		}
	}
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

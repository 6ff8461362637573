package docs

import (
	"fmt"
	"go/ast"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestErrorCatalogue compares errors.md with the code: every log message, HTTP
// status and dispatchResult of the product has a row that says what it means,
// and every row is about one. With -update the rows are written again; what
// people wrote stays, and a new row waits for its text.
func TestErrorCatalogue(t *testing.T) {
	const name = "docs/errors.md"
	p, text := readProduct(t), readFile(t, name)
	for _, table := range []struct {
		name string
		keys []string // the first cells of the rows
	}{
		{"log messages", p.logMessages(t)},
		{"statuses", p.statuses()},
		{"results", p.results()},
	} {
		begin, end := "<!-- begin of the "+table.name+" -->\n", "<!-- end of the "+table.name+" -->\n"
		before, rest, found := strings.Cut(text, begin)
		rows, after, closed := strings.Cut(rest, end)
		if !found || !closed {
			t.Fatalf("%s lacks the lines %s and %s", name, begin, end)
		}
		written, silent := rewrite(rows, table.keys)
		for _, key := range silent {
			t.Errorf("%s does not say what is meant by %s", name, key)
		}
		if written != rows && !*update {
			t.Errorf("the %s in %s are not those of the code: go test ./docs -run ErrorCatalogue -update writes the rows, and git diff shows which", table.name, name)
		}
		text = before + begin + written + end + after
	}
	if *update {
		if err := os.WriteFile("errors.md", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// rewrite makes a table with these keys, which are the first cells of its rows.
// The other cells are those of the old table. It returns the keys without any.
func rewrite(table string, keys []string) (written string, silent []string) {
	const ruler = "---|\n"
	head, old, _ := strings.Cut(table, ruler)
	texts := make(map[string]string)
	for row := range strings.Lines(old) {
		for _, key := range keys {
			if text, ok := strings.CutPrefix(row, key); ok {
				texts[key] = text
			}
		}
	}
	columns := strings.Count(table[:strings.Index(table, "\n")], "|")
	written = head + ruler
	for _, key := range keys {
		text := texts[key]
		if text == "" {
			text = strings.Repeat(" |", columns-strings.Count(key, "|")) + "\n"
		}
		if strings.Contains(text, "| |") || strings.HasPrefix(text, " |") {
			silent = append(silent, key)
		}
		written += key + text
	}
	return written, silent
}

// statusNames are the statuses of errors by the names of their constants.
var statusNames = func() map[string]int {
	names := make(map[string]int)
	for code := http.StatusBadRequest; code < 600; code++ {
		if text := http.StatusText(code); text != "" {
			names["Status"+strings.NewReplacer(" ", "", "-", "", "'", "").Replace(text)] = code
		}
	}
	return names
}()

// answering are the files that answer requests, and what of them does. The admin
// endpoint's errors are sentences for its caller: admin.md has its statuses.
var answering = map[string]string{
	"internal/exchange/": "`oob_dispatch`", "internal/shortlink/": "short links", "caddymodule/health.go": "`oob_health`",
}

func answers(file string) string {
	for prefix, by := range answering {
		if strings.HasPrefix(file, prefix) {
			return by
		}
	}
	return ""
}

// statuses are the rows of the HTTP statuses: which, who answers with it, and
// the text in Caddy's log of errors, where there is one.
func (p *product) statuses() (rows []string) {
	for _, pkg := range p.packages {
		for _, file := range pkg.files {
			by := answers(p.name(file))
			if by == "" {
				continue
			}
			texts := make(map[ast.Node]string) // of the statuses that come with one
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "statusError" {
						texts[n.Args[0]] = strings.Join(pkg.strings(file, n.Args[1]), " ")
					}
				case *ast.CompositeLit:
					if kind, ok := n.Type.(*ast.Ident); ok && kind.Name == "StatusError" && len(n.Elts) == 2 {
						texts[n.Elts[0]] = strings.Join(pkg.strings(file, n.Elts[1]), " ")
					}
				case *ast.BinaryExpr, *ast.CaseClause: // a comparison
					if b, ok := n.(*ast.BinaryExpr); ok && (selected(b.X) != "" || selected(b.Y) != "") {
						return false
					}
				case *ast.SelectorExpr:
					if code := statusNames[n.Sel.Name]; code != 0 && selected(n) == "http" {
						text := strings.NewReplacer(": %w", "", "%d", "…", "%s", "…").Replace(texts[n])
						if text != "" {
							text = "`" + text + "`"
						} else {
							text = "–"
						}
						rows = append(rows, fmt.Sprintf("| %d | %s | %s |", code, by, text))
					}
				}
				return true
			})
		}
	}
	slices.Sort(rows)
	return slices.Compact(rows)
}

// results are the values of nevisFIDO's dispatchResult.
func (p *product) results() (rows []string) {
	for _, pkg := range p.packages {
		if pkg.path != "nevisfido" {
			continue
		}
		for _, file := range pkg.files {
			ast.Inspect(file, func(n ast.Node) bool {
				if spec, ok := n.(*ast.ValueSpec); ok {
					if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "DispatchResult" {
						rows = append(rows, "| `"+strings.Join(pkg.strings(file, spec.Values[0]), "")+"` |")
					}
				}
				return true
			})
		}
	}
	slices.Sort(rows)
	return rows
}

// selected returns the package that a selector begins with.
func selected(n ast.Expr) string {
	if s, ok := n.(*ast.SelectorExpr); ok {
		if id, ok := s.X.(*ast.Ident); ok {
			return id.Name
		}
	}
	return ""
}

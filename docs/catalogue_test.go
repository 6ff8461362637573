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
	text, p := readFile(t, name), readProduct(t)
	for _, table := range []struct {
		name string
		keys []string // the first cells of the rows
	}{
		{"log messages", p.logMessages(t)},
		{"statuses", p.statuses()},
		{"results", p.results()},
	} {
		mark := func(side string) string { return fmt.Sprintf("<!-- %s of the %s -->\n", side, table.name) }
		before, rest, found := strings.Cut(text, mark("begin"))
		rows, after, closed := strings.Cut(rest, mark("end"))
		if !found || !closed {
			t.Fatalf("%s lacks the marks of the %s", name, table.name)
		}
		head, old, _ := strings.Cut(rows, "---|\n")
		columns := strings.Count(strings.SplitN(head, "\n", 2)[0], "|") - 1
		written := make(map[string]string) // the rest of a row by its key
		for row := range strings.Lines(old) {
			key, cells := splitRow(row, strings.Count(table.keys[0], "|"))
			written[key] = cells
		}
		var b strings.Builder
		for _, key := range table.keys {
			cells := written[key]
			if empty := strings.Repeat(" |", columns+1-strings.Count(key, "|")); cells == "" {
				cells = empty
			}
			if strings.Contains(cells, "| |") || strings.HasPrefix(cells, " |") {
				t.Errorf("%s says nothing of %s", name, key)
			}
			delete(written, key)
			b.WriteString(key + cells + "\n")
		}
		for key := range written {
			t.Errorf("%s has %s, which is not in the code", name, key)
		}
		if b.String() != old && !t.Failed() {
			t.Errorf("the %s of %s are in another order", table.name, name)
		}
		text = before + mark("begin") + head + "---|\n" + b.String() + mark("end") + after
	}
	if *update {
		if err := os.WriteFile("errors.md", []byte(text), 0o644); err != nil { //nolint:gosec // a page of the documentation
			t.Fatal(err)
		}
	} else if t.Failed() {
		t.Log("go test ./docs -run ErrorCatalogue -update writes the rows; the texts are yours")
	}
}

// splitRow parts the first cells of a row from the others. Each ends with its |.
func splitRow(row string, n int) (key, rest string) {
	row = strings.TrimRight(row, "\n")
	end := 0
	for range n {
		i := strings.Index(row[end:], "|")
		if i < 0 {
			return row, ""
		}
		end += i + 1
	}
	return row[:end], row[end:]
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

// answering are the packages that answer requests, and what of them does.
var answering = map[string]string{
	"internal/exchange": "`oob_dispatch`", "internal/shortlink": "short links", "caddymodule": "`oob_health`",
}

// statuses are the rows of the HTTP statuses: which, who answers with it, and
// the text in Caddy's log of errors, where there is one.
func (p *product) statuses() (rows []string) {
	for _, pkg := range p.packages {
		by := answering[pkg.path]
		if by == "" {
			continue
		}
		for _, file := range pkg.files {
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

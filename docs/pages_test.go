package docs

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// page is a page of the documentation.
type page struct {
	name string // its path from the root of the repository, such as docs/scale.md
	text string
}

// fence is a block of code. The line is that of its first line in the page.
type fence struct {
	language, text string
	line           int
}

// pages are README.md, CONTRIBUTING.md, SECURITY.md and everything below docs.
func pages(t *testing.T) (all []page) {
	t.Helper()
	names := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md"}
	walk(t, "docs", func(name string) {
		if strings.HasSuffix(name, ".md") {
			names = append(names, name)
		}
	})
	for _, name := range names {
		all = append(all, page{name, readFile(t, name)})
	}
	return all
}

// readFile reads a file of the repository.
func readFile(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// walk calls a function with the path of every file of the repository below a
// folder.
func walk(t *testing.T, folder string, file func(name string)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(".."), folder, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || name == "dist"):
			return fs.SkipDir
		case !d.IsDir():
			file(name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var fenceMark = regexp.MustCompile("^\\s*```(.*)$")

// fences returns the blocks of code of a page.
func (p page) fences() (all []fence) {
	var open *fence
	for i, line := range strings.Split(p.text, "\n") {
		mark := fenceMark.FindStringSubmatch(line)
		switch {
		case mark != nil && open == nil:
			open = &fence{language: strings.TrimSpace(mark[1]), line: i + 2}
		case mark != nil:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	return all
}

// prose is a page without its blocks of code.
func (p page) prose() string {
	var b strings.Builder
	inside := false
	for line := range strings.Lines(p.text) {
		if fenceMark.MatchString(strings.TrimRight(line, "\n")) {
			inside = !inside
		} else if !inside {
			b.WriteString(line)
		}
	}
	return b.String()
}

// namedTest is a test in the text, with its package where that is given: the end
// of its import path.
var namedTest = regexp.MustCompile(`\b(?:([a-z][a-z0-9/]*)\.)?((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9_]*)\b`)

// testFunction is one in a file of tests.
var testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)

// TestNamedTestsExist: what a page names as a proof is in the tree.
func TestNamedTestsExist(t *testing.T) {
	where := make(map[string][]string) // the folders of a test
	walk(t, ".", func(name string) {
		if !strings.HasSuffix(name, "_test.go") {
			return
		}
		for _, f := range testFunction.FindAllStringSubmatch(readFile(t, name), -1) {
			where[f[1]] = append(where[f[1]], "/"+path.Dir(name))
		}
	})
	for _, p := range pages(t) {
		for _, named := range namedTest.FindAllStringSubmatch(p.text, -1) {
			found := false
			for _, folder := range where[named[2]] {
				found = found || strings.HasSuffix(folder, "/"+named[1]) || named[1] == ""
			}
			if !found {
				t.Errorf("%s: there is no test %s", p.name, named[0])
			}
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	noWord  = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// anchors are what links to a page can name, as GitHub makes them.
func (p page) anchors() map[string]bool {
	all := map[string]bool{"": true}
	for _, h := range heading.FindAllStringSubmatch(p.prose(), -1) {
		all[strings.ReplaceAll(noWord.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")] = true
	}
	return all
}

// TestLinksLeadSomewhere within the repository, and docs/README.md to every page.
func TestLinksLeadSomewhere(t *testing.T) {
	all := make(map[string]page)
	for _, p := range pages(t) {
		all[p.name] = p
	}
	indexed := make(map[string]bool)
	for _, p := range all {
		for _, found := range link.FindAllStringSubmatch(p.prose(), -1) {
			target, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, ":") {
				continue
			}
			name := p.name
			if target != "" {
				name = path.Join(path.Dir(p.name), target)
			}
			if _, err := os.Stat(filepath.Join("..", name)); err != nil {
				t.Errorf("%s: the link %s leads nowhere", p.name, found[1])
			}
			if to, ok := all[name]; ok && !to.anchors()[anchor] {
				t.Errorf("%s: %s has no heading for the link %s", p.name, name, found[1])
			}
			if p.name == "docs/README.md" {
				indexed[name] = true
			}
		}
	}
	for name := range all {
		if strings.HasPrefix(name, "docs/") && name != "docs/README.md" && !indexed[name] {
			t.Errorf("docs/README.md does not name %s", name)
		}
	}
}

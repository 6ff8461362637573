package main

import (
	"bytes"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A mutation is out of date when its text has gone, when it does not compile, or
// when a test that has to notice it has another name. Whether it is noticed is
// for `make mutations`.
func TestMutationsApply(t *testing.T) {
	t.Chdir("../..")
	for _, m := range mutations() {
		text, err := os.ReadFile(m.file)
		if n := bytes.Count(text, []byte(m.old)); err != nil || n != 1 {
			t.Errorf("%s: %s: %v, the text occurs %d times: %s", m.file, m.removes, err, n, m.old)
		}
		for name := range strings.SplitSeq(m.tests, "|") {
			if !bytes.Contains(testsOf(t, m.in), []byte("func "+name+"(")) {
				t.Errorf("%s: %s has no test %s", m.removes, m.in, name)
			}
		}
	}
	woven, err := weave()
	if err != nil {
		t.Fatal(err)
	}
	check(t, woven)
}

func testsOf(t *testing.T, folder string) (text []byte) {
	files, _ := filepath.Glob(folder + "/*_test.go")
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, content...)
	}
	return text
}

// check compiles the packages with the woven files as far as types go.
func check(t *testing.T, woven map[string][]byte) {
	list := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "./internal/exchange", "./internal/limiter", "./targets/kv")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	exports := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	files := token.NewFileSet()
	config := types.Config{
		Importer: importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }),
		Error:    func(err error) { t.Error(err) },
	}
	packages := make(map[string][]*ast.File)
	parse := func(name string, text any) {
		file, err := parser.ParseFile(files, name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
		}
		packages[filepath.Dir(name)] = append(packages[filepath.Dir(name)], file)
	}
	for name, text := range woven {
		parse(name, text)
	}
	for _, folder := range slices.Collect(maps.Keys(packages)) {
		names, _ := filepath.Glob(folder + "/*.go")
		for _, name := range names {
			if woven[name] == nil && !strings.HasSuffix(name, "_test.go") {
				parse(name, nil)
			}
		}
		_, _ = config.Check(folder, files, packages[folder], nil) // it tells Error
	}
}

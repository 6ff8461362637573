package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// chooses is the variable of the environment by which a program with all
// mutations has the one that it runs with, by its number.
const chooses = "OOB_MUTATION"

// weave puts the mutations into their files. To compile the tests of a package
// takes much longer than to run a few of them, so that all mutations are compiled
// at once: each function that a mutation changes is there once more, and the
// function itself calls the copy that was chosen. It returns the texts of the
// files, by path.
func weave() (map[string][]byte, error) {
	woven := make(map[string][]byte)
	numbers := make(map[string][]int)
	for i, m := range mutations() {
		numbers[m.file] = append(numbers[m.file], i)
	}
	for file, those := range numbers {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		w := weaver{text: text, changed: slices.Clone(text)}
		for _, decl := range slices.Backward(parsed.Decls) {
			if f, ok := decl.(*ast.FuncDecl); ok {
				w.function(f, those)
			}
		}
		if w.placed != len(those) {
			return nil, fmt.Errorf("%s: %d of %d mutations are in a function, and each once", file, w.placed, len(those))
		}
		woven[file] = append(w.changed, w.added.Bytes()...)
		woven[filepath.Join(filepath.Dir(file), "chosen_mutation.go")] = fmt.Appendf(nil,
			"package %s\n\nimport \"os\"\n\nvar chosenMutation = os.Getenv(%q)\n", parsed.Name.Name, chooses)
	}
	return woven, nil
}

type weaver struct {
	text    []byte       // of the file
	changed []byte       // the same with other names of functions
	added   bytes.Buffer // copies of functions, and what chooses between them
	placed  int
}

// function adds the copies of a function, from the last one of the file to the first.
func (w *weaver) function(f *ast.FuncDecl, numbers []int) {
	start, name, end := int(f.Pos())-1, int(f.Name.End())-1, int(f.End())-1
	text, before := string(w.text[start:end]), string(w.text[start:name])
	var cases strings.Builder
	call, last := w.calls(f)
	for _, i := range numbers {
		m := mutations()[i]
		if bytes.Count(w.text, []byte(m.old)) != 1 || strings.Count(text, m.old) != 1 {
			continue
		}
		w.placed++
		mutated := strings.Replace(text, m.old, m.new, 1)
		fmt.Fprintf(&w.added, "\n%s_%d%s\n", before, i, mutated[len(before):])
		fmt.Fprintf(&cases, "\tcase \"%d\":\n\t\t%s\n", i, fmt.Sprintf(call, i)+last)
	}
	if cases.Len() == 0 {
		return
	}
	w.changed = slices.Insert(w.changed, name, []byte("_as_it_is")...)
	fmt.Fprintf(&w.added, "\n%s {\n\tswitch chosenMutation {\n%s\t}\n\t%s\n}\n", w.header(f), cases.String(), fmt.Sprintf(call, "as_it_is"))
}

func (w *weaver) of(n ast.Node) string { return string(w.text[n.Pos()-1 : n.End()-1]) }

// header is that of the function, with names of our own for all parameters.
func (w *weaver) header(f *ast.FuncDecl) string {
	var receiver, results string
	if f.Recv != nil {
		receiver = "(self " + w.of(f.Recv.List[0].Type) + ") "
	}
	if f.Type.Results != nil {
		results = " " + w.of(f.Type.Results)
	}
	var parameters []string
	for _, field := range f.Type.Params.List {
		for range max(1, len(field.Names)) {
			parameters = append(parameters, fmt.Sprintf("p%d %s", len(parameters), w.of(field.Type)))
		}
	}
	return "func " + receiver + f.Name.Name + "(" + strings.Join(parameters, ", ") + ")" + results
}

// calls returns the format of a call of a copy, and what follows it within a switch.
func (w *weaver) calls(f *ast.FuncDecl) (call, last string) {
	var arguments []string
	for _, field := range f.Type.Params.List {
		for range max(1, len(field.Names)) {
			arguments = append(arguments, fmt.Sprintf("p%d", len(arguments)))
		}
		if _, ok := field.Type.(*ast.Ellipsis); ok {
			arguments[len(arguments)-1] += "..."
		}
	}
	call, last = f.Name.Name+"_%v("+strings.Join(arguments, ", ")+")", "\n\t\treturn"
	if f.Recv != nil {
		call = "self." + call
	}
	if f.Type.Results != nil {
		call, last = "return "+call, ""
	}
	return call, last
}

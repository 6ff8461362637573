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
		text, err := os.ReadFile(file) //nolint:gosec // of our own list
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
			return nil, fmt.Errorf("%s: %d of %d mutations can be woven: each has to be in a function, once, and in none that recovers", file, w.placed, len(those))
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

// function adds the copies of a function. Start with the last one of the file.
func (w *weaver) function(f *ast.FuncDecl, numbers []int) {
	name := int(f.Name.End()) - 1
	text, head := w.of(f), string(w.text[f.Pos()-1:name])
	signature, call := w.signature(f)
	var cases strings.Builder
	for _, i := range numbers {
		m := mutations()[i]
		once := bytes.Count(w.text, []byte(m.old)) == 1 && strings.Count(text, m.old) == 1
		if !once || strings.Contains(text, "recover()") { // which has no effect in a copy that is called
			continue
		}
		w.placed++
		mutated := strings.Replace(text, m.old, m.new, 1)
		fmt.Fprintf(&w.added, "\n%s_%d%s\n", head, i, mutated[len(head):])
		fmt.Fprintf(&cases, "\tcase \"%d\":\n\t\t%s\n", i, fmt.Sprintf(call, i))
	}
	if cases.Len() > 0 {
		w.changed = slices.Insert(w.changed, name, []byte("_as_it_is")...)
		fmt.Fprintf(&w.added, "\n%s {\n\tswitch chosenMutation {\n%s\t}\n\t%s\n}\n", signature, cases.String(), fmt.Sprintf(call, "as_it_is"))
	}
}

func (w *weaver) of(n ast.Node) string { return string(w.text[n.Pos()-1 : n.End()-1]) }

// signature is that of a function, with names of our own for all parameters. With
// it comes the format of a call of a copy.
func (w *weaver) signature(f *ast.FuncDecl) (signature, call string) {
	var parameters, arguments []string
	for _, field := range f.Type.Params.List {
		for range max(1, len(field.Names)) {
			name := fmt.Sprintf("p%d", len(parameters))
			parameters = append(parameters, name+" "+w.of(field.Type))
			if _, variadic := field.Type.(*ast.Ellipsis); variadic {
				name += "..."
			}
			arguments = append(arguments, name)
		}
	}
	signature = f.Name.Name + "(" + strings.Join(parameters, ", ") + ")"
	call = f.Name.Name + "_%v(" + strings.Join(arguments, ", ") + ")"
	if f.Recv != nil {
		signature, call = "(self "+w.of(f.Recv.List[0].Type)+") "+signature, "self."+call
	}
	if f.Type.Results == nil {
		return "func " + signature, call + "\n\t\treturn"
	}
	return "func " + signature + " " + w.of(f.Type.Results), "return " + call
}

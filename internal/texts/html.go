package texts

import (
	"errors"
	"fmt"
	"html/template"
	"strings"
	"text/template/parse"
)

// content is the template that the frame has for the text.
const content = "content"

// parseHTML sets the file into the frame as its template "content".
func (s *Set) parseHTML(files map[string]string, key textKey) error {
	t, err := template.New(layout).Parse(files[layout])
	if err != nil {
		return err
	}
	name := key.file("html")
	text, ok := files[name]
	if !ok {
		return missing(name, key)
	}
	own, err := t.New(name).Parse(text)
	if err != nil {
		return err
	}
	if err := checkMarkup(t, own.Tree, text); err != nil {
		return err
	}
	if _, err := t.AddParseTree(content, own.Tree); err != nil {
		return err
	}
	s.htmls[key] = t
	return nil
}

// checkFrame looks at the frame alone, so that what is wrong with it is not
// put down to a text.
func checkFrame(files map[string]string) error {
	t, err := template.New(layout).Parse(files[layout])
	if err != nil {
		return err
	}
	own := t.Tree
	if own == nil || !strings.Contains(own.Root.String(), `{{template "`+content+`"`) {
		return fmt.Errorf(`%s: the text has no place in it: write {{template "%s" .}} where it goes`, layout, content)
	}
	if t.Lookup(content) == nil {
		if _, err := t.New(content).Parse(""); err != nil {
			return err
		}
	}
	err = checkMarkup(t, own, files[layout])
	if e, ok := errors.AsType[*template.Error](err); ok && e.ErrorCode == template.ErrNoSuchTemplate {
		return nil // the texts may define it
	}
	return err
}

// checkMarkup looks at the markup of one file, whose text and tree these are:
// html/template on its own blames the frame for a text that leaves a tag open.
// The set is as it was afterwards.
func checkMarkup(set *template.Template, tree *parse.Tree, text string) error {
	err := escape(set, tree, tree.Root)
	if e, ok := errors.AsType[*template.Error](err); ok && e.ErrorCode == template.ErrEndContext && e.Node == nil {
		line := strings.Count(text[:unclosed(set, tree)], "\n") + 1
		return fmt.Errorf("%s:%d: a tag, a quoted value, a comment, a style or a script that begins here is not closed", tree.Name, line)
	}
	return err
}

// escape does to a part of a file what html/template does before it renders:
// it finds the context of every value.
func escape(set *template.Template, tree *parse.Tree, root *parse.ListNode) error {
	t, err := set.Clone()
	if err != nil {
		return err
	}
	piece := &parse.Tree{Name: tree.Name, ParseName: tree.ParseName, Root: root.CopyList()}
	if t, err = t.AddParseTree(tree.Name, piece); err != nil {
		return err
	}
	err = t.Execute(&bounded{}, view{})
	if _, ok := errors.AsType[*template.Error](err); ok {
		return err
	}
	return nil // rendering comes later, with samples
}

// unclosed returns the offset in a file at which begins what is still open at
// its end: up to there everything is closed, and never again after it.
func unclosed(set *template.Template, tree *parse.Tree) int {
	nodes := tree.Root.Nodes
	whole := func(n int, more ...parse.Node) bool {
		root := &parse.ListNode{NodeType: parse.NodeList, Nodes: append(nodes[:n:n], more...)}
		return escape(set, tree, root) == nil
	}
	n := len(nodes) - 1
	for n > 0 && !whole(n) {
		n--
	}
	open, ok := nodes[n].(*parse.TextNode)
	if !ok {
		return int(nodes[n].Position())
	}
	at := len(open.Text)
	for at > 0 {
		at = strings.LastIndexByte(string(open.Text[:at]), '<')
		piece := open.Copy().(*parse.TextNode)
		piece.Text = piece.Text[:max(at, 0)]
		if whole(n, piece) {
			break
		}
	}
	return int(open.Pos) + max(at, 0)
}

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
func (s *Set) parseHTML(key textKey) error {
	t, err := template.New(layout).Parse(s.files[layout])
	if err != nil {
		return err
	}
	text, err := s.file(key, "html")
	if err != nil {
		return err
	}
	own, err := t.New(key.file("html")).Parse(text)
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

// checkFrame looks at the frame alone, so that a text is not blamed for what is
// wrong with it.
func (s *Set) checkFrame() error {
	t, err := template.New(layout).Parse(s.files[layout])
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
	err = checkMarkup(t, own, s.files[layout])
	if e, ok := errors.AsType[*template.Error](err); ok && e.ErrorCode == template.ErrNoSuchTemplate {
		return nil // the texts may define it
	}
	return err
}

// checkMarkup looks at the markup of one file: html/template on its own blames
// the frame for a text that leaves a tag open, and names no line. The set is as
// it was afterwards.
func checkMarkup(set *template.Template, file *parse.Tree, text string) error {
	err := escape(set, file, len(file.Root.Nodes))
	if e, ok := errors.AsType[*template.Error](err); !ok || e.ErrorCode != template.ErrEndContext || e.Node != nil {
		return err
	}
	last := len(file.Root.Nodes) - 1
	for last > 0 && escape(set, file, last) != nil {
		last--
	}
	node := file.Root.Nodes[last] // what it opens is never closed
	at := int(node.Position())
	if t, ok := node.(*parse.TextNode); ok {
		at += max(strings.LastIndexByte(string(t.Text), '<'), 0)
	}
	line := strings.Count(text[:at], "\n") + 1
	return fmt.Errorf("%s:%d: a tag, a quoted value, a comment, a style or a script that begins here is not closed", file.Name, line)
}

// escape does to the first nodes of a file what html/template does before it
// renders: it finds the context of every value.
func escape(set *template.Template, file *parse.Tree, nodes int) error {
	t, err := set.Clone()
	if err != nil {
		return err
	}
	root := &parse.ListNode{NodeType: parse.NodeList, Nodes: file.Root.Nodes[:nodes:nodes]}
	part := &parse.Tree{Name: file.Name, ParseName: file.ParseName, Root: root.CopyList()}
	if t, err = t.AddParseTree(file.Name, part); err != nil {
		return err
	}
	err = t.Execute(&bounded{}, view{})
	if _, ok := errors.AsType[*template.Error](err); ok {
		return err
	}
	return nil // rendering comes later, with samples
}

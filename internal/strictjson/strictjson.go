// Package strictjson is the one strict reading of JSON that comes from
// elsewhere: valid UTF-8, names compared by case, no duplicate names (RFC 8259,
// I-JSON of RFC 7493), nothing after the value, and bounds of nesting,
// members and values. A text is validated and indexed once; nested values are
// then read without parsing again, and members are replaced in place while all
// other bytes stay as they came.
//
// What we write ourselves is read with encoding/json.
package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of a text.
const (
	MaxDepth   = 32      // nested arrays and objects
	MaxMembers = 1024    // of one object
	MaxValues  = 1 << 14 // members and elements at all levels together
)

// ErrTooManyValues reports a text of more than MaxValues values.
var ErrTooManyValues = fmt.Errorf("JSON of more than %d values", MaxValues)

var (
	errDepth   = fmt.Errorf("JSON nested deeper than %d levels", MaxDepth)
	errMembers = fmt.Errorf("JSON object of more than %d members", MaxMembers)
)

// Value is a value within a text that was parsed. The zero Value is absent.
type Value struct {
	text  []byte
	nodes []node
	at    int32 // index in nodes
}

// A node is a value of the text. Nodes stand in the order of the text, so the
// first child of a node follows it.
type node struct {
	name, nameEnd int32 // without quotes; both 0 for what is not a member
	start, end    int32
	next          int32 // index after the node's own children
}

// Parse reads a text that is one JSON value. Its errors quote nothing of it.
func Parse(text []byte) (Value, error) { return parse(text) }

// ParseLoose also reads a text with duplicate names and invalid UTF-8. It is
// for finding what is to be refused later, not for using it.
func ParseLoose(text []byte) (Value, error) {
	return parse(text, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

func parse(text []byte, options ...jsontext.Options) (Value, error) {
	values, err := measure(text)
	if err != nil {
		return Value{}, err
	}
	if !jsontext.Value(text).IsValid(options...) {
		return Value{}, explain(text)
	}
	return Value{text: text, nodes: index(text, values)}, nil
}

// Opaque makes a value of a text without reading it: it has no children.
func Opaque(text []byte) Value {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return Value{}
	}
	return Value{text: text, nodes: []node{{end: int32(len(text)), next: 1}}}
}

// ParseObject reads a text that is one JSON object.
func ParseObject(text []byte) (Value, error) {
	v, err := Parse(text)
	if err == nil && v.Kind() != '{' {
		return Value{}, errors.New("not a JSON object")
	}
	return v, err
}

// measure checks the bounds before anything is allocated. It counts at least
// the values that a valid text has.
func measure(text []byte) (values int, err error) {
	var members [MaxDepth + 1]int // of the object at each level; below 0 in an array
	depth := 0
	values = 1
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"':
			i = stringEnd(text, i) - 1
		case ',':
			values++
			if members[depth]++; members[depth] > MaxMembers {
				return 0, errMembers
			}
		case '{', '[':
			values++
			if depth++; depth > MaxDepth {
				return 0, errDepth
			}
			members[depth] = 1
			if c == '[' {
				members[depth] = -len(text)
			}
		case '}', ']':
			depth = max(0, depth-1)
		}
	}
	if values > MaxValues {
		return 0, ErrTooManyValues
	}
	return values, nil
}

// index lists the values of a valid text.
func index(text []byte, values int) []node {
	nodes := make([]node, 0, values)
	var open [MaxDepth]int32 // the containers that have not ended
	depth := 0
	var name, nameEnd int32
	add := func(start, end int) {
		nodes = append(nodes, node{name, nameEnd, int32(start), int32(end), int32(len(nodes) + 1)})
		name, nameEnd = 0, 0
	}
	for i := 0; i < len(text); {
		end := i + 1
		switch c := text[i]; c {
		case ' ', '\t', '\r', '\n', ',', ':':
		case '{', '[':
			open[depth] = int32(len(nodes))
			depth++
			add(i, 0)
		case '}', ']':
			depth--
			n := &nodes[open[depth]]
			n.end, n.next = int32(end), int32(len(nodes))
		case '"':
			end = stringEnd(text, i)
			if depth > 0 && name == 0 && text[nodes[open[depth-1]].start] == '{' {
				name, nameEnd = int32(i+1), int32(end-1)
			} else {
				add(i, end)
			}
		default: // a number or literal
			for end < len(text) && !strings.ContainsRune(" \t\r\n,]}", rune(text[end])) {
				end++
			}
			add(i, end)
		}
		i = end
	}
	return nodes
}

// stringEnd returns the index after the string that begins at start. A string
// without an end ends with the text.
func stringEnd(text []byte, start int) int {
	rest := text[start+1:]
	quote := bytes.IndexByte(rest, '"')
	if quote >= 0 && bytes.IndexByte(rest[:quote], '\\') < 0 { // as nearly all are
		return start + quote + 2
	}
	for i := start + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// explain says why a text is not valid, without the pointer and excerpt of the
// decoder's errors: they may quote a caller's data.
func explain(text []byte) error {
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	_, err := dec.ReadValue()
	if err == nil {
		return errors.New("text after the JSON value")
	}
	syntactic, ok := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("truncated JSON")
	case errors.Is(err, jsontext.ErrDuplicateName) && ok:
		return fmt.Errorf("duplicate member name near byte %d", syntactic.ByteOffset)
	case ok:
		return fmt.Errorf("invalid JSON near byte %d", syntactic.ByteOffset)
	}
	return errors.New("invalid JSON")
}

func (v Value) node() node { return v.nodes[v.at] }

// Exists tells whether there is a value; null is one.
func (v Value) Exists() bool { return v.nodes != nil }

// Len is the number of values that a value consists of, itself included.
func (v Value) Len() int {
	if !v.Exists() {
		return 0
	}
	return int(v.node().next - v.at)
}

// Kind is '{', '[', '"', '0' for numbers, 't', 'f', 'n', or 0 for no value.
func (v Value) Kind() byte {
	if !v.Exists() {
		return 0
	}
	if c := v.text[v.node().start]; c != '-' && (c < '0' || c > '9') {
		return c
	}
	return '0'
}

// Raw returns the text of the value; nil for no value.
func (v Value) Raw() []byte {
	if !v.Exists() {
		return nil
	}
	return v.text[v.node().start:v.node().end:v.node().end]
}

// Text returns what a string says, and "" for all other values.
func (v Value) Text() string {
	if v.Kind() != '"' {
		return ""
	}
	return Unquote(v.Raw())
}

// Children yields the members of an object, or the elements of an array with
// no name.
func (v Value) Children() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for child := range v.children {
			if !yield(string(child.name()), child) {
				return
			}
		}
	}
}

// children yields those of Children without copies of their names.
func (v Value) children(yield func(Value) bool) {
	if !v.Exists() {
		return
	}
	for at := v.at + 1; at < v.node().next; at = v.nodes[at].next {
		if !yield(Value{v.text, v.nodes, at}) {
			return
		}
	}
}

// name returns the name of a member, and nothing for an element of an array.
func (v Value) name() []byte {
	n := &v.nodes[v.at]
	name := v.text[n.name:n.nameEnd]
	if bytes.IndexByte(name, '\\') >= 0 {
		return []byte(Unquote(v.text[n.name-1 : n.nameEnd+1]))
	}
	return name
}

// Find returns a member of an object, also one that is null.
func (v Value) Find(name string) Value {
	if v.Kind() != '{' {
		return Value{}
	}
	for child := range v.children {
		if string(child.name()) == name {
			return child
		}
	}
	return Value{}
}

// Member returns a member of an object; one that is null is absent.
func (v Value) Member(name string) Value {
	if m := v.Find(name); m.Kind() != 'n' {
		return m
	}
	return Value{}
}

// Object returns a member that is an object, or absent.
func (v Value) Object(name string) (Value, error) {
	m := v.Member(name)
	if m.Exists() && m.Kind() != '{' {
		return Value{}, fmt.Errorf("member %q is not an object", name)
	}
	return m, nil
}

// String returns a member that is a string, or "" where it is absent.
func (v Value) String(name string) (string, error) {
	m := v.Member(name)
	if m.Exists() && m.Kind() != '"' {
		return "", fmt.Errorf("member %q is not a string", name)
	}
	return m.Text(), nil
}

// A Text is a string member that Strings reads.
type Text struct {
	Name string
	To   *string // stays as it is where the member is absent, and is "" where it is null
}

// Strings reads several string members at once. Of several that are wrong it
// reports the first in the text.
func (v Value) Strings(texts ...Text) error {
	for child := range v.children {
		for _, t := range texts {
			if string(child.name()) != t.Name {
				continue
			}
			switch child.Kind() {
			case '"', 'n':
				*t.To = child.Text()
			default:
				return fmt.Errorf("member %q is not a string", t.Name)
			}
		}
	}
	return nil
}

// RefuseVariants fails when a member differs from one of the names only in
// letter case: another parser might take the one for the other.
func (v Value) RefuseVariants(names ...string) error {
	for child := range v.children {
		other := child.name()
		for _, name := range names {
			if string(other) != name && bytes.EqualFold(other, []byte(name)) {
				return fmt.Errorf("a member is spelled in another letter case than %q", name)
			}
		}
	}
	return nil
}

// An Edit sets one member of an object to a JSON text.
type Edit struct {
	Name  string
	Value []byte
}

// With returns the text of an object with the edits made and everything else
// as it was. Members that are new are added at the end.
func (v Value) With(edits ...Edit) []byte {
	n := v.node()
	at, end := n.start, n.end
	if v.at == 0 { // with the white space around it
		at, end = 0, int32(len(v.text))
	}
	length := int(end - at)
	for _, e := range edits {
		length += len(e.Name) + len(e.Value) + len(`,"":`)
	}
	out := make([]byte, 0, length)
	empty := true
	for child := range v.children {
		empty = false
		if i := slices.IndexFunc(edits, func(e Edit) bool { return string(child.name()) == e.Name }); i >= 0 {
			out = append(out, v.text[at:child.node().start]...)
			out = append(out, edits[i].Value...)
			at = child.node().end
		}
	}
	out = append(out, v.text[at:n.end-1]...)
	for _, e := range edits {
		if v.Find(e.Name).Exists() {
			continue
		}
		if !empty {
			out = append(out, ',')
		}
		empty = false
		out = append(append(append(out, Quote(e.Name)...), ':'), e.Value...)
	}
	return append(out, v.text[n.end-1:end]...)
}

// Map returns the text of an array or object with each child replaced, and
// everything between them as it was.
func (v Value) Map(replace func(child Value) []byte) []byte {
	out := make([]byte, 0, len(v.Raw())+len(v.Raw())/8)
	at := v.node().start
	for _, child := range v.Children() {
		out = append(out, v.text[at:child.node().start]...)
		out = append(out, replace(child)...)
		at = child.node().end
	}
	return append(out, v.text[at:v.node().end]...)
}

// Quote returns s as a JSON string. Invalid UTF-8 becomes U+FFFD.
func Quote(s string) []byte {
	b, _ := jsontext.AppendQuote(make([]byte, 0, len(s)+2), strings.ToValidUTF8(s, "\uFFFD"))
	return b
}

// Unquote returns what a valid JSON string says.
func Unquote(quoted []byte) string {
	if end := len(quoted) - 1; end > 0 && bytes.IndexByte(quoted[1:], '"') == end-1 && bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1:end])
	}
	b, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return ""
	}
	return string(b)
}

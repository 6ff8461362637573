package nevisfido

import (
	"bytes"
	"errors"
	"io"
	"iter"

	"github.com/go-json-experiment/json/jsontext"
)

// maxValues bounds the values that one search looks at, JSON within strings
// included. The bodies of apps have a few dozen.
const maxValues = 1024

// A node is a value of a JSON text.
type node struct {
	name string // of a member; "" for an element
	text jsontext.Value
	next int // where the tree goes on after the value and what is in it
}

// A tree holds the values of one JSON text in their order, so that a search
// reads the text once, however deep it goes.
type tree []node

// A place is a value in a tree.
type place struct {
	tree  tree
	index int
}

func (p place) text() jsontext.Value { return p.tree[p.index].text }

// parts yields the members of an object with their names, and the elements of
// an array without.
func (p place) parts() iter.Seq2[string, place] {
	return func(yield func(string, place) bool) {
		for i := p.index + 1; i < p.tree[p.index].next; i = p.tree[i].next {
			if !yield(p.tree[i].name, place{p.tree, i}) {
				return
			}
		}
	}
}

// member returns the member of an object; false where there is none.
func (p place) member(name string) (place, bool) {
	if p.text().Kind() == '{' {
		for other, part := range p.parts() {
			if other == name {
				return part, true
			}
		}
	}
	return place{}, false
}

// A scan is the reading of one request or answer for what is somewhere in it.
type scan struct {
	values int
	over   bool // there is more than a scan looks at
}

var errValues = errors.New("too many values")

// read takes a strict JSON text apart. What is no strict JSON is a lone value.
func (s *scan) read(text jsontext.Value) place {
	t, err := s.tree(text)
	if err != nil {
		t = tree{{text: text, next: 1}}
	}
	return place{t, 0}
}

func (s *scan) tree(text []byte) (tree, error) {
	if err := bounded(text); err != nil {
		return nil, err
	}
	var t tree
	var open []int
	dec := decoderOf(text)
	defer dec.done()
	for {
		kind := dec.PeekKind()
		if kind == '}' || kind == ']' {
			if _, err := dec.ReadToken(); err != nil {
				return nil, cause(err)
			}
			i := open[len(open)-1]
			open = open[:len(open)-1]
			start := len(text) - len(t[i].text) // until here, text is the rest
			t[i].text, t[i].next = text[start:dec.InputOffset()], len(t)
		} else {
			if s.values++; s.values > maxValues {
				s.over = true
				return nil, errValues
			}
			var n node
			if in, count := dec.StackIndex(dec.StackDepth()); in == '{' && count%2 == 0 {
				name, err := dec.ReadToken()
				if err != nil {
					return nil, cause(err)
				}
				n.name = name.String()
				kind = dec.PeekKind()
			}
			if kind == '{' || kind == '[' {
				if _, err := dec.ReadToken(); err != nil {
					return nil, cause(err)
				}
				n.text = text[dec.InputOffset()-1:]
				open = append(open, len(t))
			} else {
				value, err := dec.ReadValue()
				if err != nil {
					return nil, cause(err)
				}
				end := int(dec.InputOffset())
				n.text, n.next = text[end-len(value):end], len(t)+1
			}
			t = append(t, n)
		}
		if len(open) == 0 {
			break
		}
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the JSON value")
	}
	return t, nil
}

// inner returns the JSON object or array that a string holds, and any other
// value as it is.
func (s *scan) inner(p place) place {
	if p.text().Kind() != '"' {
		return p
	}
	text := bytes.TrimSpace(unquoted(p.text()))
	if len(text) == 0 || text[0] != '{' && text[0] != '[' {
		return p
	}
	t, err := s.tree(text)
	if err != nil {
		return p
	}
	return place{t, 0}
}

// jwk recognises a key as ParseJWK does.
func (s *scan) jwk(p place) (jwk, bool) {
	if p.text().Kind() != '{' || p.tree[p.index].next == p.index+1 {
		return parseJWK(p.text()) // a string, or an object that is not strict
	}
	var m jwkMembers
	for name, part := range p.parts() {
		m.take(name, part.text())
	}
	return m.key(p.text())
}

// parts are those of a value, or of the JSON within a string. There are none
// where it is too deep.
func (s *scan) parts(p place, level int) iter.Seq2[string, place] {
	if level > maxDepth {
		return func(func(string, place) bool) {}
	}
	return s.inner(p).parts()
}

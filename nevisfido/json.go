package nevisfido

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth bounds the nesting of every JSON text that is read here.
const maxDepth = 32

// maxMembers bounds the members of every object.
const maxMembers = 1024

var (
	errDepth   = fmt.Errorf("nested deeper than %d levels", maxDepth)
	errMembers = fmt.Errorf("more than %d members", maxMembers)
)

// An object is a JSON object that was read strictly (RFC 8259, valid UTF-8, no
// duplicate names), with the place of each member in its text, so that one
// value can be replaced while all other bytes stay as they came.
type object struct {
	text    []byte
	members []member
}

type member struct {
	name       string
	start, end int // of the value, in the text
}

// A decoder is one of a pool, as a body may hold thousands of objects that are
// read one by one.
type decoder struct {
	*jsontext.Decoder
	text bytes.Buffer
}

var decoders = sync.Pool{New: func() any { return &decoder{Decoder: new(jsontext.Decoder)} }}

func decoderOf(text []byte, options ...jsontext.Options) *decoder {
	d := decoders.Get().(*decoder)
	d.text = *bytes.NewBuffer(text)
	d.Reset(&d.text, options...)
	return d
}

// done gives the decoder back, without the text.
func (d *decoder) done() {
	d.text = bytes.Buffer{}
	d.Reset(&d.text)
	decoders.Put(d)
}

// parseObject reads text, which must be one JSON object and nothing else.
func parseObject(text []byte) (*object, error) {
	if err := bounded(text); err != nil {
		return nil, err
	}
	dec := decoderOf(text)
	defer dec.done()
	if dec.PeekKind() != '{' {
		return nil, errors.New("not a JSON object")
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, cause(err)
	}
	o := &object{text: text}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, cause(err)
		}
		m := member{name: name.String()}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, cause(err)
		}
		m.end = int(dec.InputOffset())
		m.start = m.end - len(value)
		o.members = append(o.members, m)
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, cause(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the JSON object")
	}
	return o, nil
}

// cause drops the pointer and excerpt that the decoder's errors carry: they
// may quote the caller's data, which must not reach a log.
func cause(err error) error {
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		switch {
		case errors.Is(err, jsontext.ErrDuplicateName):
			return fmt.Errorf("duplicate member name near byte %d", syntactic.ByteOffset)
		case errors.Is(err, io.ErrUnexpectedEOF):
			return errors.New("truncated JSON")
		}
		return fmt.Errorf("invalid JSON near byte %d", syntactic.ByteOffset)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("truncated JSON")
	}
	return errors.New("invalid JSON")
}

// bounded checks how deep the arrays and objects of text nest, and how many
// members an object has, without judging whether it is valid JSON. It costs
// next to nothing, unlike the decoder, which remembers every name.
func bounded(text []byte) error {
	var members [maxDepth + 1]int // of the object on each level; below 0 in an array
	level, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if level++; level > maxDepth {
				return errDepth
			}
			members[level] = 1
			if c == '[' {
				members[level] = -len(text)
			}
		case c == ',':
			if members[level]++; members[level] > maxMembers {
				return errMembers
			}
		case c == '}' || c == ']':
			level = max(0, level-1)
		}
	}
	return nil
}

// raw returns the text of a member's value; nil where there is none or it is null.
func (o *object) raw(name string) jsontext.Value {
	for _, m := range o.members {
		if m.name == name {
			value := jsontext.Value(o.text[m.start:m.end])
			if value.Kind() == 'n' {
				return nil
			}
			return value
		}
	}
	return nil
}

// string returns a member that must be a string where it is present.
func (o *object) string(name string) (string, error) {
	value := o.raw(name)
	if value == nil {
		return "", nil
	}
	if value.Kind() != '"' {
		return "", fmt.Errorf("member %q is not a string", name)
	}
	return unquote(value), nil
}

// strings reads several string members at once.
func (o *object) strings(into map[string]*string) error {
	for name, to := range into {
		s, err := o.string(name)
		if err != nil {
			return err
		}
		*to = s
	}
	return nil
}

// object returns a member that must be an object where it is present; nil if absent.
func (o *object) object(name string) (*object, error) {
	value := o.raw(name)
	if value == nil {
		return nil, nil
	}
	inner, err := parseObject(value)
	if err != nil {
		return nil, fmt.Errorf("member %q: %w", name, err)
	}
	return inner, nil
}

// refuseVariants fails when a member differs from one of the names only in
// letter case: another parser might take the one for the other.
func (o *object) refuseVariants(names ...string) error {
	for _, m := range o.members {
		for _, name := range names {
			if m.name != name && strings.EqualFold(m.name, name) {
				return fmt.Errorf("a member is spelled in another letter case than %q", name)
			}
		}
	}
	return nil
}

// An edit sets one member of an object.
type edit struct {
	name  string
	value jsontext.Value
}

// apply returns the text with the edits made and everything else as it was.
// Members that are new are added at the end.
func (o *object) apply(edits ...edit) []byte {
	size := len(o.text)
	for _, e := range edits {
		size += len(`,"":`) + len(e.name) + len(e.value)
	}
	out := make([]byte, 0, size)
	at := 0
	for _, m := range o.members {
		if i := slices.IndexFunc(edits, func(e edit) bool { return e.name == m.name }); i >= 0 {
			out = append(out, o.text[at:m.start]...)
			out = append(out, edits[i].value...)
			at = m.end
		}
	}
	closing := bytes.LastIndexByte(o.text, '}')
	out = append(out, o.text[at:closing]...)
	empty := len(o.members) == 0
	for _, e := range edits {
		if o.has(e.name) {
			continue
		}
		if !empty {
			out = append(out, ',')
		}
		empty = false
		out = append(append(append(out, quote(e.name)...), ':'), e.value...)
	}
	return append(out, o.text[closing:]...)
}

func (o *object) has(name string) bool {
	return slices.ContainsFunc(o.members, func(m member) bool { return m.name == name })
}

// quote returns s as a JSON string. Invalid UTF-8 becomes U+FFFD.
func quote(s string) jsontext.Value {
	b, _ := jsontext.AppendQuote(nil, strings.ToValidUTF8(s, "\uFFFD"))
	return b
}

// unquote returns the text of a valid JSON string.
func unquote(value jsontext.Value) string { return string(unquoted(value)) }

func unquoted(value jsontext.Value) []byte {
	b, err := jsontext.AppendUnquote(make([]byte, 0, len(value)), value)
	if err != nil {
		return nil
	}
	return b
}

// marshal encodes what is known to be encodable.
func marshal(v any) jsontext.Value {
	b, err := json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return jsontext.Value("null")
	}
	return b
}

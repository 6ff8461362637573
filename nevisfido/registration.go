package nevisfido

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// statusSucceeded is the UAF status code of an operation that succeeded (FIDO
// UAF protocol specification, section 3.6.4).
const statusSucceeded = "1200"

// What a registration may lack, or have too much of.
var (
	// ErrNoTarget reports a registration that brings no dispatch target, or
	// that failed.
	ErrNoTarget = errors.New("the registration brings no dispatch target")
	// ErrUnreadableTarget reports a registration that brings a dispatch
	// target which cannot be read.
	ErrUnreadableTarget = errors.New("the registration's dispatch target cannot be read")
	// ErrNoID reports an answer that does not tell the id of the new target.
	ErrNoID = errors.New("nothing in the answer is the id of a dispatch target")
	// ErrSeveralIDs reports an answer in which several ids may be the new
	// target's.
	ErrSeveralIDs = errors.New("several ids in the answer may be that of the dispatch target")
)

// ParseRegistration finds the dispatch target that an SDK sends along in the
// context of a UAF registration response (SendUAFResponse). The names inside
// the context are not documented. A target is what a member named
// dispatchTarget holds, in whichever spelling, or else an object that holds a
// dispatcher or a target and a JWK; at any depth, also as JSON within a string.
// Nothing else of the registration is searched: the assertions hold keys of
// authenticators. ErrNoTarget is returned where there is none.
func ParseRegistration(body []byte) (*TargetDescription, error) {
	o, err := parseObject(body)
	if err != nil {
		return nil, err
	}
	var s targetSearch
	s.search(o.raw("context"), 0)
	found := s.named
	if len(found) == 0 {
		found = s.shaped
	}
	switch {
	case len(found) == 0:
		return nil, ErrNoTarget
	case len(found) > 1:
		return nil, fmt.Errorf("%w: there are several", ErrUnreadableTarget)
	}
	t, err := ParseTarget(found[0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadableTarget, err)
	}
	return t, nil
}

// targetSearch looks for objects that describe a dispatch target.
type targetSearch struct{ named, shaped []jsontext.Value }

// search returns whether there is a JWK in a value that belongs to none of the
// targets that were found.
func (s *targetSearch) search(value jsontext.Value, level int) (loose bool) {
	if _, ok := parseJWK(value); ok {
		return true
	}
	marked := false // as a target, by its members
	for name, part := range parts(value, level) {
		if isTargetName(name) {
			if targets := objects(part); len(targets) > 0 {
				s.named = addTo(s.named, targets...)
				continue
			}
		}
		marked = marked || name == "dispatcher" || name == "target"
		loose = s.search(part, level+1) || loose
	}
	if marked && loose {
		s.shaped = addTo(s.shaped, inner(value))
		return false
	}
	return loose
}

func isTargetName(name string) bool {
	return plain(name) == "dispatchtarget" || plain(name) == "dispatchtargets"
}

// objects returns the object that a value is, or those that it lists.
func objects(value jsontext.Value) (all []jsontext.Value) {
	value = inner(value)
	switch value.Kind() {
	case '{':
		all = append(all, value)
	case '[':
		for _, element := range parts(value, 0) {
			if element = inner(element); element.Kind() == '{' {
				all = append(all, element)
			}
		}
	}
	return all
}

func addTo(list []jsontext.Value, values ...jsontext.Value) []jsontext.Value {
	for _, value := range values {
		if len(list) < maxFound && !slices.ContainsFunc(list, func(other jsontext.Value) bool { return bytes.Equal(other, value) }) {
			list = append(list, value)
		}
	}
	return list
}

// ParseRegistered returns the id of the dispatch target that nevisFIDO created
// with a registration. Where it stands is not documented. These are taken, the
// better one first: dispatchTargetId or dispatchTarget anywhere in the answer,
// in whichever spelling; then targetId anywhere in description, id at its top,
// or a description that is nothing but an id. The error is ErrNoTarget where
// the registration failed, ErrNoID, or ErrSeveralIDs.
func ParseRegistered(body []byte) (CreatedTarget, error) {
	o, err := parseObject(body)
	if err != nil {
		return CreatedTarget{}, err
	}
	if status := o.raw("statusCode"); strings.Trim(status.String(), `"`) != statusSucceeded {
		return CreatedTarget{}, ErrNoTarget
	}
	var s idSearch
	s.search(body, 0)
	if len(s.found) > 0 {
		return s.one()
	}
	description := o.raw("description")
	s = idSearch{lenient: true}
	s.search(description, 0)
	s.top(description)
	return s.one()
}

// idSearch looks for what may be the id of a new target.
type idSearch struct {
	lenient bool // targetId counts as well
	found   []CreatedTarget
}

func (s *idSearch) one() (CreatedTarget, error) {
	switch len(s.found) {
	case 0:
		return CreatedTarget{}, ErrNoID
	case 1:
		return s.found[0], nil
	}
	return CreatedTarget{}, ErrSeveralIDs
}

func (s *idSearch) add(c CreatedTarget) {
	if c.ID == "" {
		return
	}
	for i, other := range s.found {
		if other.ID == c.ID {
			s.found[i].ExtID = cmp.Or(other.ExtID, c.ExtID)
			return
		}
	}
	if len(s.found) < maxFound {
		s.found = append(s.found, c)
	}
}

func (s *idSearch) search(value jsontext.Value, level int) {
	for name, part := range parts(value, level) {
		switch spelled := plain(name); {
		case spelled == "dispatchtargetid", spelled == "targetid" && s.lenient:
			s.add(CreatedTarget{ID: textOf(part)})
		case isTargetName(name):
			s.target(part)
		default:
			s.search(part, level+1)
		}
	}
}

// target takes what stands for a target: an object with an id, or the id.
func (s *idSearch) target(value jsontext.Value) {
	found := objects(value)
	if len(found) == 0 {
		s.add(CreatedTarget{ID: textOf(value)})
	}
	for _, o := range found {
		s.object(o)
		s.search(o, 0)
	}
}

// object takes the id of an object that is a target.
func (s *idSearch) object(value jsontext.Value) {
	if c, err := ParseCreated(value); err == nil {
		s.add(c)
	}
}

// top takes what a description is itself: targets, or the bare id of one.
func (s *idSearch) top(description jsontext.Value) {
	found := objects(description)
	for _, o := range found {
		s.object(o)
	}
	if len(found) > 0 {
		return
	}
	values := []jsontext.Value{description}
	if list := inner(description); list.Kind() == '[' {
		values = values[:0]
		for _, element := range parts(list, 0) {
			values = append(values, element)
		}
	}
	for _, value := range values {
		if id := textOf(value); looksLikeID(id) {
			s.add(CreatedTarget{ID: id})
		}
	}
}

// looksLikeID tells an id from a sentence, a word, a number, or a constant such
// as SUCCEEDED_1200.
func looksLikeID(text string) bool {
	digits, letters := 0, 0
	for _, c := range text {
		switch {
		case '0' <= c && c <= '9':
			digits++
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
			letters++
		case c != '-':
			return false
		}
	}
	return len(text) >= 8 && len(text) <= 128 && digits > 0 && letters > 0
}

// textOf returns the text of a string that is one word, and nothing else: no
// sentence, and nothing of JSON within a string.
func textOf(value jsontext.Value) string {
	if inner(value).Kind() != '"' {
		return ""
	}
	text := strings.TrimSpace(unquote(value))
	if strings.ContainsFunc(text, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) }) {
		return ""
	}
	return text
}

// parts are the members of an object, or the elements of an array without a
// name; JSON within a string counts as well. There are none where it is not
// strict, or the level is too deep.
func parts(value jsontext.Value, level int) iter.Seq2[string, jsontext.Value] {
	return func(yield func(string, jsontext.Value) bool) {
		if level > maxDepth {
			return
		}
		value := inner(value)
		var members []member
		switch value.Kind() {
		case '{':
			if o, err := parseObject(value); err == nil {
				members = o.members
			}
		case '[':
			members, _ = spans(value)
		}
		for _, m := range members {
			if !yield(m.name, value[m.start:m.end]) {
				return
			}
		}
	}
}

// inner returns the JSON object or array that a string holds, and any other
// value as it is.
func inner(value jsontext.Value) jsontext.Value {
	if value.Kind() != '"' {
		return value
	}
	text := bytes.TrimSpace([]byte(unquote(value)))
	if len(text) == 0 || depth(text) > maxDepth {
		return value
	}
	var err error
	switch text[0] {
	case '{':
		_, err = parseObject(text)
	case '[':
		_, err = spans(text)
	default:
		return value
	}
	if err != nil {
		return value
	}
	return text
}

package nevisfido

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
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
	if context := o.raw("context"); context != nil {
		s.search(s.scan.read(context), 0)
	}
	found := s.named
	if len(found) == 0 {
		found = s.shaped
	}
	switch {
	case s.scan.over:
		return nil, fmt.Errorf("%w: the context has more than %d values", ErrUnreadableTarget, maxValues)
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
type targetSearch struct {
	scan          scan
	named, shaped []jsontext.Value
}

// search returns whether there is a JWK in a value that belongs to none of the
// targets that were found.
func (s *targetSearch) search(value place, level int) (loose bool) {
	if _, ok := s.scan.jwk(value); ok {
		return true
	}
	value = s.scan.inner(value)
	marked := false // as a target, by its members
	for name, part := range s.scan.parts(value, level) {
		if isTargetName(name) {
			if targets := s.scan.objects(part); len(targets) > 0 {
				for _, target := range targets {
					s.named = addTo(s.named, target.text())
				}
				continue
			}
		}
		marked = marked || name == "dispatcher" || name == "target"
		loose = s.search(part, level+1) || loose
	}
	if marked && loose {
		s.shaped = addTo(s.shaped, value.text())
		return false
	}
	return loose
}

func isTargetName(name string) bool {
	return plain(name) == "dispatchtarget" || plain(name) == "dispatchtargets"
}

// objects returns the object that a value is, or those that it lists.
func (s *scan) objects(value place) (all []place) {
	value = s.inner(value)
	switch value.text().Kind() {
	case '{':
		all = append(all, value)
	case '[':
		for _, element := range value.parts() {
			if element = s.inner(element); element.text().Kind() == '{' {
				all = append(all, element)
			}
		}
	}
	return all
}

func addTo(list []jsontext.Value, value jsontext.Value) []jsontext.Value {
	if len(list) < maxFound && !slices.ContainsFunc(list, func(other jsontext.Value) bool { return bytes.Equal(other, value) }) {
		list = append(list, value)
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
	answer := s.scan.read(body)
	s.search(answer, 0)
	if len(s.found) > 0 || s.scan.over {
		return s.one()
	}
	s = idSearch{lenient: true}
	if description, ok := answer.member("description"); ok {
		s.search(description, 0)
		s.top(description)
	}
	return s.one()
}

// idSearch looks for what may be the id of a new target.
type idSearch struct {
	scan    scan
	lenient bool // targetId counts as well
	found   []CreatedTarget
}

func (s *idSearch) one() (CreatedTarget, error) {
	if s.scan.over {
		return CreatedTarget{}, ErrSeveralIDs // for all that is known
	}
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

func (s *idSearch) search(value place, level int) {
	for name, part := range s.scan.parts(value, level) {
		switch spelled := plain(name); {
		case spelled == "dispatchtargetid", spelled == "targetid" && s.lenient:
			s.add(CreatedTarget{ID: s.textOf(part)})
		case isTargetName(name):
			s.target(part)
		default:
			s.search(part, level+1)
		}
	}
}

// target takes what stands for a target: an object with an id, or the id.
func (s *idSearch) target(value place) {
	found := s.scan.objects(value)
	if len(found) == 0 {
		s.add(CreatedTarget{ID: s.textOf(value)})
	}
	for _, o := range found {
		s.object(o)
		s.search(o, 0)
	}
}

// object takes the id of an object that is a target.
func (s *idSearch) object(value place) {
	var c CreatedTarget
	for name, to := range map[string]*string{"id": &c.ID, "extId": &c.ExtID} {
		part, ok := value.member(name)
		switch {
		case !ok || part.text().Kind() == 'n':
		case part.text().Kind() != '"':
			return
		default:
			*to = unquote(part.text())
		}
	}
	s.add(c)
}

// top takes what a description is itself: targets, or the bare id of one.
func (s *idSearch) top(description place) {
	found := s.scan.objects(description)
	for _, o := range found {
		s.object(o)
	}
	if len(found) > 0 {
		return
	}
	values := []place{description}
	if list := s.scan.inner(description); list.text().Kind() == '[' {
		values = values[:0]
		for _, element := range list.parts() {
			values = append(values, element)
		}
	}
	for _, value := range values {
		if id := s.textOf(value); looksLikeID(id) {
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
func (s *idSearch) textOf(value place) string {
	if s.scan.inner(value).text().Kind() != '"' {
		return ""
	}
	text := strings.TrimSpace(unquote(value.text()))
	if strings.ContainsFunc(text, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) }) {
		return ""
	}
	return text
}

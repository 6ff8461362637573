package nevisfido

import (
	"bytes"
	"errors"

	"github.com/go-json-experiment/json/jsontext"
)

// statusSucceeded is the UAF status code of an operation that succeeded (FIDO
// UAF protocol specification, section 3.6.4).
const statusSucceeded = "1200"

// ErrNoTarget reports a registration that brings no dispatch target.
var ErrNoTarget = errors.New("the registration brings no dispatch target")

// ParseRegistration finds the dispatch target that an SDK sends along in the
// context of a UAF registration response (SendUAFResponse). The names inside
// the context are not documented: a member dispatchTarget is searched for at
// any depth, as an object or as JSON within a string. ErrNoTarget is returned
// where there is none.
func ParseRegistration(body []byte) (*TargetDescription, error) {
	o, err := parseObject(body)
	if err != nil {
		return nil, err
	}
	context := o.raw("context")
	if context == nil {
		return nil, ErrNoTarget
	}
	found := find(context, 0, func(name string, value jsontext.Value) bool {
		return name == "dispatchTarget" && inner(value).Kind() == '{'
	})
	if found == nil {
		return nil, ErrNoTarget
	}
	return ParseTarget(inner(found))
}

// ParseRegistered returns the id of the dispatch target that nevisFIDO created
// with a registration: the member dispatchTargetId of description, at any
// depth, or the id of a dispatchTarget. ErrNoTarget is returned where the
// registration failed or names none.
func ParseRegistered(body []byte) (CreatedTarget, error) {
	o, err := parseObject(body)
	if err != nil {
		return CreatedTarget{}, err
	}
	if status := o.raw("statusCode"); status.String() != statusSucceeded {
		return CreatedTarget{}, ErrNoTarget
	}
	description := o.raw("description")
	if description == nil {
		return CreatedTarget{}, ErrNoTarget
	}
	id := find(description, 0, func(name string, value jsontext.Value) bool {
		return name == "dispatchTargetId" && value.Kind() == '"' && unquote(value) != ""
	})
	if id != nil {
		return CreatedTarget{ID: unquote(id)}, nil
	}
	target := find(description, 0, func(name string, value jsontext.Value) bool {
		return name == "dispatchTarget" && inner(value).Kind() == '{'
	})
	if target == nil {
		return CreatedTarget{}, ErrNoTarget
	}
	created, err := ParseCreated(inner(target))
	if err != nil {
		return CreatedTarget{}, ErrNoTarget
	}
	return created, nil
}

// find returns the value of the first member, in the order of the text and at
// any depth, that the test accepts. JSON within strings is searched as well.
func find(value jsontext.Value, level int, accept func(string, jsontext.Value) bool) jsontext.Value {
	if level > maxDepth {
		return nil
	}
	value = inner(value)
	switch value.Kind() {
	case '{':
		o, err := parseObject(value)
		if err != nil {
			return nil
		}
		for _, m := range o.members {
			v := jsontext.Value(o.text[m.start:m.end])
			if accept(m.name, v) {
				return v
			}
			if found := find(v, level+1, accept); found != nil {
				return found
			}
		}
	case '[':
		elements, err := spans(value)
		if err != nil {
			return nil
		}
		for _, e := range elements {
			if found := find(value[e.start:e.end], level+1, accept); found != nil {
				return found
			}
		}
	}
	return nil
}

// inner returns the JSON object that a string holds, and any other value as it is.
func inner(value jsontext.Value) jsontext.Value {
	if value.Kind() != '"' {
		return value
	}
	text := bytes.TrimSpace([]byte(unquote(value)))
	if len(text) == 0 || text[0] != '{' || depth(text) > maxDepth {
		return value
	}
	if _, err := parseObject(text); err != nil {
		return value
	}
	return text
}

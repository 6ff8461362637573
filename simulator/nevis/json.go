package nevis

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// members is a JSON object as Jackson reads it: names are case-sensitive, of
// duplicate names the last one counts, unknown ones are ignored.
type members map[string]json.RawMessage

func parse(text []byte) (members, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("not UTF-8")
	}
	var m members
	if err := json.Unmarshal(text, &m); err != nil || m == nil {
		return nil, errors.New("not a JSON object")
	}
	return m, nil
}

// has reports whether there is a member other than null.
func (m members) has(name string) bool {
	raw, ok := m[name]
	return ok && !bytes.Equal(raw, []byte("null"))
}

// text returns a member that has to be a string; "" where it is absent.
func (m members) text(name string) (string, error) {
	if !m.has(name) {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(m[name], &s); err != nil {
		return "", fmt.Errorf("%s is not a string", name)
	}
	return s, nil
}

// texts reads several members that have to be strings.
func (m members) texts(into map[string]*string) error {
	for name, to := range into {
		s, err := m.text(name)
		if err != nil {
			return err
		}
		*to = s
	}
	return nil
}

// object returns a member that is an object, or a string that holds one; nil
// where it is absent.
func (m members) object(name string) (members, error) {
	if !m.has(name) {
		return nil, nil
	}
	raw := []byte(m[name])
	if s, err := m.text(name); err == nil {
		raw = []byte(s)
	}
	o, err := parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s is %w", name, err)
	}
	return o, nil
}

// encode writes JSON as Jackson does, without escaping for HTML.
func encode(v any) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // only our own types come here
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

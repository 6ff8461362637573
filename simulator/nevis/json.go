package nevis

import (
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// members is a JSON object whose members stay as they were spelled.
type members map[string]jsontext.Value

// decode reads JSON as Jackson does: names are case-sensitive, of duplicate
// names the last one counts, unknown ones are ignored.
func decode(text []byte, into any) error {
	return json.Unmarshal(text, into, jsontext.AllowDuplicateNames(true))
}

// unwrap returns the content of a member that may be an object or a string
// that holds one; nil where it is absent.
func unwrap(v jsontext.Value) []byte {
	switch v.Kind() {
	case jsontext.KindInvalid, jsontext.KindNull:
		return nil
	case jsontext.KindString:
		var s string
		_ = decode(v, &s) // it is a string
		return []byte(s)
	}
	return v
}

// parseJWK returns a key as JWK text, nil where it is absent. Whether nevisFIDO
// looks at more than the form is not documented: hostile keys are stored like
// any other.
func parseJWK(v jsontext.Value) ([]byte, error) {
	text := unwrap(v)
	if text == nil {
		return nil, nil
	}
	var key struct {
		Kty string `json:"kty"`
	}
	if decode(text, &key) != nil || key.Kty == "" {
		return nil, errors.New("a key that is not a JWK")
	}
	return text, nil
}

// encode writes JSON as Jackson does, without escaping for HTML.
func encode(v any) []byte {
	out, err := json.Marshal(v, json.Deterministic(true), jsontext.PreserveRawStrings(true))
	if err != nil {
		panic(err) // only our own types come here
	}
	return out
}

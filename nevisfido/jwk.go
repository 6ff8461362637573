package nevisfido

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// purpose is what a key is for.
type purpose int

const (
	unsaid purpose = iota
	encrypting
	signing
)

// Bounds of what is read of a key, in bytes: names and short values, and key_ops.
const (
	maxName       = 64
	maxOperations = 1024
)

// A jwk is a key that was recognised by its shape.
type jwk struct {
	text    []byte  // the JSON object
	rsa     bool    // by its type
	purpose purpose // as the key says itself
}

// ParseJWK recognises a key by its shape: a JSON object with a member kty, text
// that holds one, or base64 of such text. It returns the object. It is liberal,
// as keys are vetted later: a bad one is to be refused there, not overlooked.
func ParseJWK(value []byte) (text []byte, ok bool) {
	key, ok := parseJWK(value)
	return key.text, ok
}

func parseJWK(value jsontext.Value) (jwk, bool) {
	text := reading(value)
	if text == nil || errors.Is(bounded(text), errDepth) {
		return jwk{}, false
	}
	dec := decoderOf(text, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	defer dec.done()
	if _, err := dec.ReadToken(); err != nil {
		return jwk{}, false
	}
	var m jwkMembers
	for dec.PeekKind() == '"' {
		token, err := dec.ReadToken()
		if err != nil {
			return jwk{}, false
		}
		name := token.String()
		member, err := dec.ReadValue()
		if err != nil {
			return jwk{}, false
		}
		m.take(name, member)
	}
	if _, err := dec.ReadToken(); err != nil {
		return jwk{}, false
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return jwk{}, false
	}
	return m.key(text)
}

// reading returns the text of an object that a value may stand for; nil for none.
func reading(value jsontext.Value) []byte {
	switch value.Kind() {
	case '{':
		return value
	case '"':
	default:
		return nil
	}
	text := bytes.TrimSpace(unquoted(value))
	if bytes.HasPrefix(text, []byte("{")) {
		return text
	}
	text = bytes.TrimRight(text, "=")
	compact := text[:0] // unquoted made a copy
	for _, c := range text {
		switch c {
		case '\r', '\n':
			continue
		case '-':
			c = '+'
		case '_':
			c = '/'
		}
		compact = append(compact, c)
	}
	n, err := base64.RawStdEncoding.Decode(compact, compact)
	if err != nil {
		return nil
	}
	if decoded := bytes.TrimSpace(compact[:n]); bytes.HasPrefix(decoded, []byte("{")) {
		return decoded
	}
	return nil
}

// jwkMembers are the members of a key that tell what it is: the first of each
// name, in whichever letter case.
type jwkMembers struct{ kty, use, alg, crv, operations jsontext.Value }

func (m *jwkMembers) take(name string, value jsontext.Value) {
	var place *jsontext.Value
	switch {
	case len(name) > maxName:
		return
	case strings.EqualFold(name, "kty"):
		place = &m.kty
	case strings.EqualFold(name, "use"):
		place = &m.use
	case strings.EqualFold(name, "alg"):
		place = &m.alg
	case strings.EqualFold(name, "crv"):
		place = &m.crv
	case name == "key_ops" && len(value) <= maxOperations:
		m.operations = bytes.Clone(value)
		return
	default:
		return
	}
	switch {
	case *place != nil || value.Kind() != '"':
	case len(value) > maxName:
		*place = jsontext.Value(`"-"`) // a name of nothing, which is refused later
	default:
		*place = bytes.Clone(value)
	}
}

// key returns the key with the text, if it names its type.
func (m *jwkMembers) key(text []byte) (jwk, bool) {
	kind := unquote(m.kty)
	return jwk{text: text, rsa: kind == "RSA", purpose: m.purpose()}, kind != ""
}

// purpose is what use, key_ops and alg say, or a curve that serves one purpose
// only (RFC 7517, section 4; RFC 8037).
func (m *jwkMembers) purpose() purpose {
	var operations []string
	_ = json.Unmarshal(m.operations, &operations) // as far as it goes
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(operations, name) })
	}
	begins := func(text string, beginnings ...string) bool {
		return slices.ContainsFunc(beginnings, func(b string) bool { return strings.HasPrefix(text, b) })
	}
	switch use, alg, curve := unquote(m.use), unquote(m.alg), unquote(m.crv); {
	case use == "enc":
		return encrypting
	case use == "sig":
		return signing
	case has("verify", "sign"):
		return signing
	case has("encrypt", "decrypt", "wrapKey", "unwrapKey", "deriveKey", "deriveBits"):
		return encrypting
	case begins(alg, "RSA-OAEP", "RSA1_5", "ECDH-ES"), begins(curve, "X"):
		return encrypting
	case begins(alg, "RS", "PS", "ES", "EdDSA", "Ed"), begins(curve, "Ed"):
		return signing
	}
	return unsaid
}

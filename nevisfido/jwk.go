package nevisfido

import (
	"strings"

	"github.com/oob-dispatch/oob-dispatch/internal/anybase64"
	"github.com/oob-dispatch/oob-dispatch/internal/strictjson"
)

// purpose is what a key is for.
type purpose int

const (
	unknownPurpose purpose = iota
	encrypting
	signing
)

// maxName bounds the names that are looked at, in bytes, and the values in a
// key that are names.
const maxName = 64

// A jwk is a key that was recognised by its shape.
type jwk struct {
	text    []byte  // the JSON object
	rsa     bool    // by its type
	purpose purpose // as the key says itself, or its name
	guesses Guesses // by which it was recognised
}

// ParseJWK recognises a key by its shape: a JSON object with a member kty, text
// that holds one, or base64 of such text. It returns the object. It is liberal,
// as keys are vetted later: a bad one is to be refused there, not overlooked.
func ParseJWK(value []byte) (text []byte, ok bool) {
	key, ok := parseJWK(strictjson.Opaque(value))
	return key.text, ok
}

func parseJWK(value strictjson.Value) (jwk, bool) {
	switch value.Kind() {
	case '{':
		if value.Len() > 1 {
			return newJWK(value, 0)
		}
		return parseJWKText(value.Raw(), 0) // empty, or not strict
	case '"':
		text := strings.TrimSpace(value.Text())
		if strings.HasPrefix(text, "{") {
			return parseJWKText([]byte(text), GuessKeyText)
		}
		if decoded := decodeObject(text); decoded != nil {
			return parseJWKText(decoded, GuessKeyBase64)
		}
	}
	return jwk{}, false
}

func parseJWKText(text []byte, form Guesses) (jwk, bool) {
	value, err := strictjson.ParseLoose(text)
	if err != nil || value.Kind() != '{' {
		return jwk{}, false
	}
	return newJWK(value, form)
}

// decodeObject decodes base64 of either alphabet, with or without padding and
// line breaks, of a JSON object; nil for anything else.
func decodeObject(text string) []byte {
	if !strings.HasPrefix(text, "e") && !strings.HasPrefix(text, "I") && !strings.HasPrefix(text, "C") && !strings.HasPrefix(text, "D") {
		return nil // neither a brace nor white space
	}
	decoded, err := anybase64.Decode(text)
	if value := strictjson.Opaque(decoded); err == nil && value.Kind() == '{' {
		return value.Raw()
	}
	return nil
}

// newJWK reads the members that tell what a key is, in whichever letter case
// they are written. It is a key if it names its type.
func newJWK(value strictjson.Value, form Guesses) (jwk, bool) {
	var kty, use, alg, crv string
	var operations strictjson.Value
	for name, member := range value.Children() {
		switch {
		case len(name) > maxName:
		case strings.EqualFold(name, "kty"):
			takeName(&kty, member)
		case strings.EqualFold(name, "use"):
			takeName(&use, member)
		case strings.EqualFold(name, "alg"):
			takeName(&alg, member)
		case strings.EqualFold(name, "crv"):
			takeName(&crv, member)
		case name == "key_ops":
			operations = member
		}
	}
	return jwk{text: value.Raw(), rsa: kty == "RSA", purpose: purposeOf(use, operations, alg, crv), guesses: form}, kty != ""
}

// takeName reads a short string, the first of its name. A long one is a name of
// nothing that there is, so that the key is refused later.
func takeName(to *string, value strictjson.Value) {
	switch {
	case *to != "" || value.Kind() != '"':
	case len(value.Raw()) > maxName:
		*to = "-"
	default:
		*to = value.Text()
	}
}

// purposeOf is what use, key_ops and alg say, or a curve that serves one
// purpose only (RFC 7517, section 4; RFC 8037).
func purposeOf(use string, operations strictjson.Value, alg, crv string) purpose {
	switch use {
	case "enc":
		return encrypting
	case "sig":
		return signing
	}
	byOperation := unknownPurpose
	for _, operation := range operations.Children() {
		switch string(operation.Raw()) {
		case `"verify"`, `"sign"`:
			return signing
		case `"encrypt"`, `"decrypt"`, `"wrapKey"`, `"unwrapKey"`, `"deriveKey"`, `"deriveBits"`:
			byOperation = encrypting
		}
	}
	if byOperation != unknownPurpose {
		return byOperation
	}
	begins := func(text string, beginnings ...string) bool {
		for _, b := range beginnings {
			if strings.HasPrefix(text, b) {
				return true
			}
		}
		return false
	}
	switch {
	case begins(alg, "RSA-OAEP", "RSA1_5", "ECDH-ES"), begins(crv, "X"):
		return encrypting
	case begins(alg, "RS", "PS", "ES", "EdDSA", "Ed"), begins(crv, "Ed"):
		return signing
	}
	return unknownPurpose
}

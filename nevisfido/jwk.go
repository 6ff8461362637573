package nevisfido

import (
	"bytes"
	"encoding/base64"
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
	for _, text := range readings(value) {
		var all map[string]jsontext.Value
		err := json.Unmarshal(text, &all, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
		if err != nil || depth(text) > maxDepth {
			continue
		}
		if m := jwkMembers(all); m.text("kty") != "" {
			return jwk{text: text, rsa: m.text("kty") == "RSA", purpose: m.purpose()}, true
		}
	}
	return jwk{}, false
}

// readings returns the texts that a value may stand for.
func readings(value jsontext.Value) [][]byte {
	switch value.Kind() {
	case '{':
		return [][]byte{value}
	case '"':
	default:
		return nil
	}
	text := strings.TrimSpace(unquote(value))
	if strings.HasPrefix(text, "{") {
		return [][]byte{[]byte(text)}
	}
	text = strings.NewReplacer("-", "+", "_", "/", "\r", "", "\n", "").Replace(strings.TrimRight(text, "="))
	decoded, err := base64.RawStdEncoding.DecodeString(text)
	if decoded = bytes.TrimSpace(decoded); err != nil || !bytes.HasPrefix(decoded, []byte("{")) {
		return nil
	}
	return [][]byte{decoded}
}

type jwkMembers map[string]jsontext.Value

// text returns a member that is a string, in whichever letter case its name is.
func (m jwkMembers) text(name string) string {
	for other, value := range m {
		if strings.EqualFold(name, other) && value.Kind() == '"' {
			return unquote(value)
		}
	}
	return ""
}

// purpose is what use, key_ops and alg say, or a curve that serves one purpose
// only (RFC 7517, section 4; RFC 8037).
func (m jwkMembers) purpose() purpose {
	var operations []string
	_ = json.Unmarshal(m["key_ops"], &operations) // as far as it goes
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(operations, name) })
	}
	begins := func(text string, beginnings ...string) bool {
		return slices.ContainsFunc(beginnings, func(b string) bool { return strings.HasPrefix(text, b) })
	}
	switch use, alg, curve := m.text("use"), m.text("alg"), m.text("crv"); {
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

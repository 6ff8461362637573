package nevisidm

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
)

// jwk is a key among the properties of a credential, and what it says of its
// purpose.
type jwk struct {
	text json.RawMessage
	Type string   `json:"kty"`
	Use  string   `json:"use"`
	Alg  string   `json:"alg"`
	Ops  []string `json:"key_ops"`
}

type purpose int

const (
	unsaid purpose = iota
	encrypting
	signing
)

// keysOf finds the keys among the properties of a credential by their shape: a
// JWK, as an object or as text. No reference names the properties. What a key
// is for tells the property's name, or the key itself, or else its type: RSA
// keys encrypt, the others sign, unless that place is taken. Where all that
// leaves a choice, there is an error.
func keysOf(properties map[string]json.RawMessage) (encryption, signature json.RawMessage, err error) {
	var encrypt, sign, rsa, other []json.RawMessage
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		key, ok := parseJWK(properties[name])
		switch {
		case !ok:
		case key.purpose(name) == encrypting:
			encrypt = append(encrypt, key.text)
		case key.purpose(name) == signing:
			sign = append(sign, key.text)
		case key.Type == "RSA":
			rsa = append(rsa, key.text)
		default:
			other = append(other, key.text)
		}
	}
	if len(encrypt) == 0 {
		encrypt, rsa = rsa, nil
	}
	if len(sign) == 0 {
		sign, other = other, nil
	}
	if len(encrypt) == 0 {
		encrypt, other = other, nil
	}
	if len(sign) == 0 {
		sign, rsa = rsa, nil
	}
	if len(encrypt) > 1 || len(sign) > 1 || len(rsa) > 0 || len(other) > 0 {
		return nil, nil, errors.New("a generic credential holds several JWKs, and nothing tells which one encrypts")
	}
	return first(encrypt), first(sign), nil
}

func first(keys []json.RawMessage) json.RawMessage {
	if len(keys) == 0 {
		return nil
	}
	return keys[0]
}

// parseJWK is liberal: the keys are vetted later, so that a bad one is
// reported and not overlooked.
func parseJWK(value json.RawMessage) (key jwk, ok bool) {
	key.text = value
	var text string
	if json.Unmarshal(value, &text) == nil {
		key.text = json.RawMessage(text)
	}
	var head struct {
		Type string `json:"kty"`
	}
	if json.Unmarshal(key.text, &head) != nil || head.Type == "" {
		return jwk{}, false
	}
	_ = json.Unmarshal(key.text, &key) // as far as it goes
	return key, true
}

func (k *jwk) purpose(property string) purpose {
	property = strings.ToLower(property)
	switch {
	case strings.Contains(property, "encr"):
		return encrypting
	case strings.Contains(property, "sign"):
		return signing
	case k.Use == "enc", strings.HasPrefix(k.Alg, "RSA-OAEP"), strings.HasPrefix(k.Alg, "ECDH-ES"):
		return encrypting
	case k.Use == "sig", slices.Contains(k.Ops, "verify"):
		return signing
	case slices.ContainsFunc(k.Ops, func(op string) bool { return op == "encrypt" || op == "wrapKey" || op == "deriveKey" }):
		return encrypting
	case slices.ContainsFunc([]string{"RS", "PS", "ES", "EdDSA"}, func(p string) bool { return strings.HasPrefix(k.Alg, p) }):
		return signing
	}
	return unsaid
}

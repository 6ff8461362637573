package nevisidm

import (
	"encoding/json"
	"errors"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// keysOf finds the keys among the properties of a credential by their shape, as
// those of a device are found. Where nothing tells which one encrypts, there is
// an error.
func keysOf(properties map[string]json.RawMessage) (encryption, signature json.RawMessage, err error) {
	keys := nevisfido.FindKeys(properties)
	if keys.Unclear {
		return nil, nil, errors.New("a generic credential holds several JWKs, and nothing tells which one encrypts")
	}
	return keys.Encryption, keys.Signature, nil
}

// keyIn returns the JWK that a documented member holds, as an object, text or
// base64, or else the member, which is refused then.
func keyIn(member json.RawMessage) json.RawMessage {
	if text, ok := nevisfido.ParseJWK(member); ok {
		return text
	}
	return member
}

// Package anybase64 reads the forms of base64 that are met in the field.
package anybase64

import (
	"encoding/base64"
	"errors"
	"strings"
)

var errNotBase64 = errors.New("not base64url")

var urlAlphabet = strings.NewReplacer("+", "-", "/", "_")

// Decode reads either alphabet of RFC 4648, with or without padding and line
// breaks. What the last character has beyond the last byte is not looked at.
func Decode(text string) ([]byte, error) { return decode(base64.RawURLEncoding, text) }

// DecodeKey is Decode for a key: what the last character has beyond the last byte
// has to be zero, so that a typing error there shows.
func DecodeKey(text string) ([]byte, error) { return decode(base64.RawURLEncoding.Strict(), text) }

func decode(encoding *base64.Encoding, text string) ([]byte, error) {
	data, err := encoding.DecodeString(urlAlphabet.Replace(strings.TrimRight(text, "=\r\n")))
	if err != nil {
		return nil, errNotBase64
	}
	return data, nil
}

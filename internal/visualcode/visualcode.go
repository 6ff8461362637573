// Package visualcode derives from a token what the browser and the phone both
// show, so that the user can compare them: digits, and a picture of them. It is
// our own rendering; nevisFIDO's number matching is something else.
// docs/protocol.md has the algorithm and vectors for it.
package visualcode

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// The labels separate digits and picture from each other, and from every other
// use of the token.
const (
	digitsLabel  = "oob-dispatch visual code v1"
	pictureLabel = "oob-dispatch visual code v1 picture"
)

func derive(token, label string) []byte {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(label))
	return mac.Sum(nil)
}

// Digits derives the digits: HMAC-SHA-256 with the token as key over a fixed
// label, the first 8 bytes as a big-endian number, modulo 10^n, padded with
// zeros. It is "" without a token or digits.
func Digits(token string, n int) string {
	if n <= 0 || token == "" {
		return ""
	}
	modulus := uint64(1)
	for range n {
		modulus *= 10
	}
	return fmt.Sprintf("%0*d", n, binary.BigEndian.Uint64(derive(token, digitsLabel))%modulus)
}

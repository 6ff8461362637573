package delivery

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// visualCodeLabel separates the visual code from every other use of the token.
const visualCodeLabel = "oob-dispatch visual code v1"

// VisualCode derives the digits that both sides show, so that the user can
// compare them: HMAC-SHA-256 with the token as key over a fixed label, the
// first 8 bytes as a big-endian number, modulo 10^digits, padded with zeros.
// It is "" without a token or digits. It is our own rendering; nevisFIDO's
// number matching is something else.
func VisualCode(token string, digits int) string {
	if digits <= 0 || token == "" {
		return ""
	}
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(visualCodeLabel))
	modulus := uint64(1)
	for range digits {
		modulus *= 10
	}
	return fmt.Sprintf("%0*d", digits, binary.BigEndian.Uint64(mac.Sum(nil))%modulus)
}

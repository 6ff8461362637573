package exchange

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"sync"
)

// hashKey is drawn once per process: hashes correlate the log lines of one
// process and tell nothing to anybody else.
var hashKey = sync.OnceValue(func() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return key
})

// keyedHash stands for a token or an id in logs and message ids. kind keeps
// hashes of different things apart.
func keyedHash(kind, value string) string {
	if value == "" {
		return ""
	}
	mac := hmac.New(sha256.New, hashKey())
	mac.Write([]byte(kind + "\x00" + value))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// TargetHash stands for the id of a dispatch target in logs.
func TargetHash(id string) string { return keyedHash("target", id) }

// visualCodeLabel separates the visual code from every other use of the token.
const visualCodeLabel = "oob-dispatch visual code v1"

// VisualCode derives the digits that both sides show, so that the user can
// compare them: HMAC-SHA-256 with the token as key over a fixed label, the
// first 8 bytes as a big-endian number, modulo 10^digits, padded with zeros.
// It is our own rendering; nevisFIDO's number matching is something else.
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

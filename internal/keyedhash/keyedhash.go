// Package keyedhash makes the texts that stand for tokens and ids in logs, the
// audit trail and message ids.
package keyedhash

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"sync"
)

// key is drawn once per process: hashes correlate the log lines of one process
// and tell nothing to anybody else.
var key = sync.OnceValue(func() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return key
})

// Of returns the HMAC-SHA-256 of a value, shortened to 128 bits, in base64url;
// "" for an empty value. kind, such as "token", keeps hashes of different things
// apart.
func Of(kind, value string) string {
	if value == "" {
		return ""
	}
	mac := hmac.New(sha256.New, key())
	mac.Write([]byte(kind + "\x00" + value))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

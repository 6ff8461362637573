package keyedhash

import (
	"crypto/sha256"
	"encoding/base64"
	"testing"
)

func TestOf(t *testing.T) {
	a := Of("token", "secret")
	if a != Of("token", "secret") {
		t.Error("it is not the same for the same thing")
	}
	if a == Of("target", "secret") || a == Of("token", "secret2") || Of("a", "bc") == Of("ab", "c") {
		t.Error("different things have the same hash")
	}
	if Of("token", "") != "" {
		t.Error("nothing has a hash")
	}
	sum := sha256.Sum256([]byte("token\x00secret"))
	if a == base64.RawURLEncoding.EncodeToString(sum[:16]) {
		t.Error("it can be computed without the key")
	}
}

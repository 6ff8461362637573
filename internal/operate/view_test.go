package operate

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
)

func TestViewHelpers(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0m", 59 * time.Second: "0m", 59 * time.Minute: "59m", time.Hour: "1h", 24*time.Hour - 1: "23h", 400 * 24 * time.Hour: "400d",
	} {
		if got := age(d); got != want {
			t.Errorf("%s: age %s, want %s", d, got, want)
		}
	}
	for _, bits := range []int{2048, 3072, 4096} {
		n := base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, bits/8)) // a modulus takes a second to find
		if got := KeyKind(fmt.Appendf(nil, `{"kty":"RSA","n":%q,"e":"AQAB"}`, n)); got != fmt.Sprintf("RSA-%d", bits) {
			t.Errorf("a key of %d bits is called %s", bits, got)
		}
	}
	for _, kind := range []string{"P-256", "P-384", "P-521"} {
		key, err := devicekey.GenerateKey(kind)
		if err != nil {
			t.Fatal(err)
		}
		if got := KeyKind(key.Public().JWK()); got != kind {
			t.Errorf("%s is called %s", kind, got)
		}
	}
	if got := KeyKind([]byte("{")); got != "unreadable" {
		t.Errorf("a damaged key is called %s", got)
	}
}

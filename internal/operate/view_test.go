package operate

import (
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
	for _, kind := range []string{"RSA-2048", "RSA-3072", "RSA-4096", "P-256", "P-384", "P-521"} {
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

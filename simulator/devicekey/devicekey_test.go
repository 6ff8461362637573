package devicekey_test

import (
	"encoding/json"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
)

func generate(t *testing.T, kind string) *devicekey.PrivateKey {
	t.Helper()
	key, err := devicekey.GenerateKey(kind)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// with returns a JWK with one member changed, or dropped if value is nil.
func with(t *testing.T, jwk []byte, name string, value any) []byte {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal(jwk, &members); err != nil {
		t.Fatal(err)
	}
	members[name] = value
	if value == nil {
		delete(members, name)
	}
	changed, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func TestParsePrivateKey(t *testing.T) {
	for _, kind := range []string{"RSA-2048", "P-256", "P-521"} {
		key := generate(t, kind)
		again, err := devicekey.ParsePrivateKey(key.JWK())
		if err != nil {
			t.Fatal(err)
		}
		if string(again.JWK()) != string(key.JWK()) || again.Public().Thumbprint() != key.Public().Thumbprint() {
			t.Errorf("%s: another key came back", kind)
		}
	}
	other := generate(t, "P-256")
	for name, jwk := range map[string][]byte{
		"public":    other.Public().JWK(),
		"other use": with(t, other.JWK(), "use", "sig"),
		"RSA1_5":    with(t, generate(t, "RSA-2048").JWK(), "alg", "RSA1_5"),
		"oct":       []byte(`{"kty":"oct","k":"AAAA"}`),
		"PEM":       []byte("-----BEGIN PRIVATE KEY-----"),
	} {
		if _, err := devicekey.ParsePrivateKey(jwk); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// A key without alg opens all that its type allows; one with alg nothing else.
func TestOpenKeepsToTheKeysAlgorithm(t *testing.T) {
	key := generate(t, "P-256")
	open, err := devicekey.ParsePrivateKey(with(t, key.JWK(), "alg", nil))
	if err != nil {
		t.Fatal(err)
	}
	direct, err := devicekey.ParsePrivateKey(with(t, key.JWK(), "alg", "ECDH-ES"))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := direct.Public().Seal([]byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.Open(sealed); err != nil {
		t.Errorf("key without alg: %v", err)
	}
	if _, err := key.Open(sealed); err == nil {
		t.Error("a key for ECDH-ES+A256KW opened ECDH-ES")
	}
}

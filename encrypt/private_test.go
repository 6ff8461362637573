package encrypt_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
)

func TestParsePrivateKey(t *testing.T) {
	rsaJWK, ecJWK := pairOf(t, "RSA-2048").JWK(), pairOf(t, "P-256").JWK()
	otherRSA, otherEC := jwkMembers(t, rsaKeyPair(t)), jwkMembers(t, newPair(t, "P-256").JWK())
	tests := []struct {
		name string
		jwk  []byte
		want encrypt.Reason
	}{
		{"RSA", rsaJWK, ""},
		{"EC", ecJWK, ""},
		{"in a JSON string", toJSON(t, string(ecJWK)), ""},
		{"key_ops of a private key", jwkWith(t, rsaJWK, "key_ops", []string{"decrypt", "unwrapKey"}), ""},
		{"RSA without the values that can be computed", jwkWith(t, jwkWith(t, jwkWith(t, rsaJWK, "dp", nil), "dq", nil), "qi", nil), ""},
		{"public RSA key", pairOf(t, "RSA-2048").Public().JWK(), encrypt.ReasonMalformed},
		{"public EC key", pairOf(t, "P-256").Public().JWK(), encrypt.ReasonMalformed},
		{"use sig", jwkWith(t, ecJWK, "use", "sig"), encrypt.ReasonWrongUse},
		{"oct", []byte(`{"kty":"oct","k":"AAAA"}`), encrypt.ReasonUnsupportedType},
		{"d of another RSA key", jwkWith(t, rsaJWK, "d", otherRSA["d"]), encrypt.ReasonInconsistent},
		{"p of another RSA key", jwkWith(t, rsaJWK, "p", otherRSA["p"]), encrypt.ReasonInconsistent},
		{"p = 0", jwkWith(t, rsaJWK, "p", "AA"), encrypt.ReasonInconsistent},
		{"p = 1", jwkWith(t, rsaJWK, "p", "AQ"), encrypt.ReasonInconsistent},
		{"d = 0", jwkWith(t, rsaJWK, "d", "AA"), encrypt.ReasonInconsistent},
		{"d far too long", jwkWith(t, rsaJWK, "d", encode(make([]byte, 8000))), encrypt.ReasonTooLarge},
		{"more than two primes", jwkWith(t, rsaJWK, "oth", []any{}), encrypt.ReasonUnsupportedType},
		{"d of another EC key", jwkWith(t, ecJWK, "d", otherEC["d"]), encrypt.ReasonInconsistent},
		{"d of an EC key zero", jwkWith(t, ecJWK, "d", encode(make([]byte, 32))), encrypt.ReasonMalformed},
		{"d of an EC key short", jwkWith(t, ecJWK, "d", "AQ"), encrypt.ReasonMalformed},
		{"d with padding", jwkWith(t, ecJWK, "d", "AQ=="), encrypt.ReasonMalformed},
		{"no JSON", []byte("-----BEGIN PRIVATE KEY-----"), encrypt.ReasonMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := encrypt.ParsePrivateKey(tt.jwk)
			checkReason(t, err, tt.want)
		})
	}
}

func rsaKeyPair(t *testing.T) []byte { return newPair(t, "RSA-2048").JWK() }

func newPair(t *testing.T, kind string) *encrypt.PrivateKey {
	t.Helper()
	pair, err := encrypt.GenerateKey(kind)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestPrivateKeyRoundTrip(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			pair := pairOf(t, kind)
			again, err := encrypt.ParsePrivateKey(pair.JWK())
			if err != nil {
				t.Fatal(err)
			}
			if string(again.JWK()) != string(pair.JWK()) {
				t.Error("JWK does not give the same key back")
			}
			if again.Public().Thumbprint() != pair.Public().Thumbprint() {
				t.Error("the public halves differ")
			}
			if opened, err := again.Open(seal(t, pair)); err != nil || len(opened) == 0 {
				t.Errorf("opening with the key read back: %v", err)
			}
		})
	}
}

// A key without alg opens all that its type allows; one with alg nothing else.
func TestOpenKeepsToTheKeysAlgorithm(t *testing.T) {
	pairs := everyPair(t)
	sealed := seal(t, pairs["P-256 ECDH-ES"])
	open, err := encrypt.ParsePrivateKey(jwkWith(t, pairs["P-256"].JWK(), "alg", nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.Open(sealed); err != nil {
		t.Errorf("key without alg: %v", err)
	}
	if _, err := pairs["P-256"].Open(sealed); err == nil {
		t.Error("a key for ECDH-ES+A256KW opened ECDH-ES")
	}
}

func TestGenerateKeyRefusesUnknownKinds(t *testing.T) {
	for _, kind := range []string{"", "RSA", "RSA-1024", "rsa-2048", "P-224", "Ed25519", "X25519"} {
		if _, err := encrypt.GenerateKey(kind); err == nil {
			t.Errorf("kind %q was generated", kind)
		}
	}
	if _, err := encrypt.GenerateSigningKey("P-224"); err == nil {
		t.Error("signing key of kind P-224 was generated")
	}
}

func TestPrintingPrivateKeyShowsNothingPrivate(t *testing.T) {
	pair := pairOf(t, "P-256")
	d := jwkMembers(t, pair.JWK())["d"].(string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, pair); strings.Contains(text, d) || !strings.Contains(text, pair.Public().Thumbprint()) {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}

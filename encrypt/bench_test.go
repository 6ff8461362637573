package encrypt_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
)

// BenchmarkSeal compares sealing a message of 300 bytes with what it cannot go
// below: RSA-OAEP of the content key alone, with the standard library and the
// same key.
func BenchmarkSeal(b *testing.B) {
	message := make([]byte, 300)
	for _, kind := range []string{"RSA-2048", "RSA-3072", "RSA-4096", "P-256"} {
		key := pairOf(b, kind).Public()
		b.Run(kind+"/Seal", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := key.Seal(message); err != nil {
					b.Fatal(err)
				}
			}
		})
		var jwk jose.JSONWebKey
		if err := jwk.UnmarshalJSON(key.JWK()); err != nil {
			b.Fatal(err)
		}
		public, ok := jwk.Key.(*rsa.PublicKey)
		if !ok {
			continue
		}
		contentKey := make([]byte, 64)
		b.Run(kind+"/EncryptOAEP", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public, contentKey, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseKey(b *testing.B) {
	for _, kind := range kinds {
		jwk := pairOf(b, kind).Public().JWK()
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := encrypt.ParseKey(jwk, encrypt.Policy{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

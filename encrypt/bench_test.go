package encrypt_test

import (
	"testing"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
)

// BenchmarkSeal seals a message of 300 bytes. bench/load compares it with what it
// cannot go below, RSA-OAEP of the content key alone.
func BenchmarkSeal(b *testing.B) {
	message := make([]byte, 300)
	for _, kind := range []string{"RSA-2048", "RSA-3072", "RSA-4096", "P-256"} {
		key := pairOf(b, kind).Public()
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := key.Seal(message); err != nil {
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

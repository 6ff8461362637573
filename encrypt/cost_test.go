package encrypt_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/internal/costtest"
)

// What an app sends as a key or as a JWS costs at most a hundred times its
// size, and a large one less.
func TestCostOfHostileKeys(t *testing.T) {
	signer, err := encrypt.ParseSignatureKey([]byte(p256Key))
	if err != nil {
		t.Fatal(err)
	}
	header := encode([]byte(`{"alg":"ES256"}`))
	shapes := map[string]func(n int) string{
		"members": func(n int) string {
			var b strings.Builder
			for i := 0; b.Len() < n-16; i++ {
				fmt.Fprintf(&b, `,"%x":0`, i)
			}
			return `{"kty":"EC"` + b.String() + `}`
		},
		"operations": func(n int) string {
			return `{"kty":"EC","crv":"P-256","key_ops":["a"` + strings.Repeat(`,"a"`, n/4-12) + `]}`
		},
		"distinct operations": func(n int) string {
			var b strings.Builder
			for i := 0; b.Len() < n-48; i++ {
				fmt.Fprintf(&b, `,"%x"`, i)
			}
			return `{"kty":"EC","crv":"P-256","key_ops":["a"` + b.String() + `]}`
		},
		"deep":        func(n int) string { return strings.Repeat(`{"a":`, n/5) },
		"long number": func(n int) string { return `{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("A", (n-40)&^3) + `"}` },
		"JWS": func(n int) string {
			return header + "." + strings.Repeat("A", (n-200)&^3) + "." + strings.Repeat("A", 86)
		},
		"JWS's header": func(n int) string { return strings.Repeat("A", n-8) + ".AA.AA" },
		"JWE": func(n int) string {
			return encode([]byte(`{"alg":"ECDH-ES","enc":"A256GCM"}`)) + ".." + strings.Repeat("A.", 2)[:3] + "." + strings.Repeat("A", n-80)
		},
		"dots": func(n int) string { return strings.Repeat(".", n) },
	}
	parsers := map[string]func(text string){
		"ParseKey":          func(text string) { _, _ = encrypt.ParseKey([]byte(text), encrypt.Policy{}) },
		"ParseSignatureKey": func(text string) { _, _ = encrypt.ParseSignatureKey([]byte(text)) },
		"UnverifiedPayload": func(text string) { _, _ = encrypt.UnverifiedPayload(text) },
		"Verify":            func(text string) { _, _ = signer.Verify(text) },
		"IsSealed":          func(text string) { encrypt.IsSealed(text) },
	}
	for _, bound := range costtest.Bounds {
		for shape, of := range shapes {
			for form, body := range map[string]func(string) string{"": func(text string) string { return text }, " in a string": costtest.Quoted} {
				text := costtest.Fit(bound.Size, of, body)
				for name, parse := range parsers {
					if cost := costtest.Allocated(func() { parse(text) }); cost > bound.Bytes {
						t.Errorf("%s of %d bytes, %s%s: %d KiB", name, len(text), shape, form, cost>>10)
					}
				}
			}
		}
	}
}

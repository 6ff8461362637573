package encrypt_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/internal/costtest"
)

// What an app sends as a key or as a JWS costs at most a hundred times its
// size, and a large one less.
func TestCostOfHostileKeys(t *testing.T) {
	signer := parseSignatureKey(t, []byte(p256Key))
	shapes := maps.Clone(costtest.Shapes)
	maps.Copy(shapes, map[string]func(n int) string{
		"distinct operations": func(n int) string {
			var b strings.Builder
			for i := 0; b.Len() < n-48; i++ {
				fmt.Fprintf(&b, `,"%x"`, i)
			}
			return `{"kty":"EC","crv":"P-256","key_ops":["a"` + b.String() + `]}`
		},
		"long number": func(n int) string { return `{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("A", (n-40)&^3) + `"}` },
		"JWS": func(n int) string {
			return encode([]byte(`{"alg":"ES256"}`)) + "." + strings.Repeat("A", (n-200)&^3) + "." + strings.Repeat("A", 86)
		},
		"JWS's header": func(n int) string { return strings.Repeat("A", n-8) + ".AA.AA" },
		"JWE": func(n int) string {
			return encode([]byte(`{"alg":"ECDH-ES","enc":"A256GCM"}`)) + "..A.A." + strings.Repeat("A", n-80)
		},
		"separators": func(n int) string { return strings.Repeat(".", n) },
	})
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

package encrypt_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
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
	for _, bound := range []struct {
		size  int
		bytes uint64
	}{{10 << 10, 1 << 20}, {256 << 10, 8 << 20}} {
		for shape, of := range shapes {
			text := of(bound.size)
			quoted, err := json.Marshal(of(bound.size * 4 / 5))
			if err != nil {
				t.Fatal(err)
			}
			for name, parse := range parsers {
				for form, text := range map[string]string{"": text, " in a string": string(quoted)} {
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					parse(text)
					runtime.ReadMemStats(&after)
					if cost := after.TotalAlloc - before.TotalAlloc; cost > bound.bytes {
						t.Errorf("%s of %d bytes, %s%s: %d KiB", name, len(text), shape, form, cost>>10)
					}
				}
			}
		}
	}
}

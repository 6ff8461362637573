package encrypt

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

// FuzzJWK reads JWKs up to their numbers, which FuzzKey vets. What is read of one is
// what encoding/json reads, whose laxer ways find no other members in it; a private
// member is never overlooked; an error quotes no member but those that say of what
// kind the key is.
func FuzzJWK(f *testing.F) {
	const secret = "Zx7Q-canary"
	for _, seed := range []string{
		`{"kty":"RSA","n":"` + secret + `","e":"AQAB","alg":"RSA-OAEP-256","use":"enc","kid":"k","key_ops":["encrypt","wrapKey"]}`, `{"kty":"EC","crv":"P-256","x":"` + secret + `","y":"` + secret + `","key_ops":[]}`,
		`{"kty":"EC","crv":"P-521","x":null,"ext":true,"x5c":["` + secret + `"]}`, `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"sig"}`,
		`{"kty":"EC","crv":"P-256","d":"` + secret + `"}`, `{"kty":"oct","k":"` + secret + `"}`, `{"kty":"RSA","N":"x","n":"y"}`, `{"\u006bty":"RSA","key_ops":["encrypt","encrypt"]}`, `{"kty":"RSA","kty":"EC"}`, `{"keys":[{"kty":"RSA"}]}`,
		`"{\"kty\":\"RSA\",\"n\":\"` + secret + `\"}"`, `{"kty":"RSA","kid":"` + secret + `\u0000"}`, `{"kty":"RSA","key_ops":"` + secret + `"}`, `{"kty":1}`, `[]`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := readJWK(data)
		if err != nil {
			checkRefusal(t, err, secret)
			return
		}
		var lax struct {
			Kty, Use, Alg, Kid, N, E, Crv, X, Y any
			D, P, Q, Dp, Dq, Qi, Oth, K, Priv   any
		}
		if err := json.Unmarshal(m.Raw(), &lax); err != nil {
			t.Fatalf("encoding/json does not read it: %v", err)
		}
		for name, want := range map[string]any{"kty": lax.Kty, "use": lax.Use, "alg": lax.Alg, "kid": lax.Kid, "n": lax.N, "e": lax.E, "crv": lax.Crv, "x": lax.X, "y": lax.Y} {
			got, isText := want.(string)
			if m.text(name) != got || m.has(name) != (want != nil) || isText != (m.Member(name).Kind() == '"') {
				t.Errorf("%s: %q where encoding/json reads %v", name, m.text(name), want)
			}
		}
		private := slices.ContainsFunc([]any{lax.D, lax.P, lax.Q, lax.Dp, lax.Dq, lax.Qi, lax.Oth, lax.K, lax.Priv}, func(v any) bool { return v != nil })
		if found := slices.ContainsFunc(privateMembers, m.has); found != private {
			t.Errorf("private members: %v, where encoding/json finds %v", found, private)
		}
		for _, name := range []string{"n", "x"} {
			octets, err := m.octets(name)
			want, wantErr := base64.RawURLEncoding.Strict().DecodeString(m.text(name))
			if err == nil && (wantErr != nil || string(octets) != string(want)) {
				t.Errorf("%s is %x, where encoding/base64 reads %x, %v", name, octets, want, wantErr)
			}
			checkRefusal(t, err, secret)
		}
		j := publicJWK{Type: m.text("kty"), Use: m.text("use"), Alg: m.text("alg"), ID: m.text("kid"), Curve: m.text("crv")}
		if !strings.Contains(j.Type+j.Use+j.Alg+j.Curve, secret) {
			checkRefusal(t, m.vetUsage(j, encryption), secret)
		}
	})
}

func checkRefusal(t *testing.T, err error, secret string) {
	t.Helper()
	if err == nil {
		return
	}
	if e, ok := errors.AsType[*KeyError](err); !ok || e.Reason == "" || strings.Contains(e.Error(), secret) {
		t.Errorf("the refusal is %v", err)
	}
}

package encrypt_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
)

var signingKinds = []string{"RSA-2048", "P-256", "P-384", "P-521", "Ed25519"}

func TestSignAndVerify(t *testing.T) {
	for _, kind := range signingKinds {
		t.Run(kind, func(t *testing.T) {
			key := signingKey(t, kind)
			signed, err := key.Sign([]byte("payload"))
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.Sorted(maps.Keys(headerOf(t, signed))); !slices.Equal(got, []string{"alg"}) {
				t.Errorf("header members %v, want alg only", got)
			}
			stored, err := encrypt.ParseSignatureKey(key.JWK())
			if err != nil {
				t.Fatal(err)
			}
			payload, err := stored.Verify(signed)
			if err != nil || string(payload) != "payload" {
				t.Errorf("verified %q: %v", payload, err)
			}
			if payload, err := encrypt.UnverifiedPayload(signed); err != nil || string(payload) != "payload" {
				t.Errorf("read %q: %v", payload, err)
			}
			if _, err := signingKey(t, kind).Public().Verify(signed); err == nil {
				t.Error("another key verified it")
			}
			for i := range signed {
				changed := []byte(signed)
				changed[i] = 'A'
				if signed[i] == 'A' {
					continue
				}
				if _, err := stored.Verify(string(changed)); err == nil {
					t.Fatalf("verifies with character %d changed", i)
				}
			}
		})
	}
}

func TestSignatureKeyPolicy(t *testing.T) {
	const ed25519Key = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	with := func(base, name string, value any) string { return string(jwkWith(t, []byte(base), name, value)) }
	tests := []jwkRow{
		{"RSA", rfc7638Key, ""},
		{"EC", p256Key, ""},
		{"Ed25519", ed25519Key, ""},
		{"in a JSON string", string(toJSON(t, ed25519Key)), ""},
		{"use sig", with(p256Key, "use", "sig"), ""},
		{"key_ops verify", with(p256Key, "key_ops", []string{"verify"}), ""},
		{"alg ES256", with(p256Key, "alg", "ES256"), ""},
		{"alg PS512", with(rfc7638Key, "alg", "PS512"), ""},
		{"alg EdDSA", with(ed25519Key, "alg", "EdDSA"), ""},
		{"use enc", with(p256Key, "use", "enc"), encrypt.ReasonWrongUse},
		{"key_ops encrypt", with(rfc7638Key, "key_ops", []string{"encrypt"}), encrypt.ReasonWrongOperations},
		{"key_ops empty", with(p256Key, "key_ops", []string{}), encrypt.ReasonWrongOperations},
		{"alg of another curve", with(p256Key, "alg", "ES384"), encrypt.ReasonWrongAlgorithm},
		{"alg HS256", with(rfc7638Key, "alg", "HS256"), encrypt.ReasonWrongAlgorithm},
		{"alg none", with(rfc7638Key, "alg", "none"), encrypt.ReasonWrongAlgorithm},
		{"alg for encryption", with(rfc7638Key, "alg", "RSA-OAEP-256"), encrypt.ReasonWrongAlgorithm},
		{"oct", `{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"}`, encrypt.ReasonPrivateMembers},
		{"private Ed25519 key", with(ed25519Key, "d", "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"), encrypt.ReasonPrivateMembers},
		{"private RSA key", string(pairOf(t, "RSA-2048").JWK()), encrypt.ReasonPrivateMembers},
		{"X25519", with(ed25519Key, "crv", "X25519"), encrypt.ReasonUnsupportedType},
		{"Ed25519 under EC", with(ed25519Key, "kty", "EC"), encrypt.ReasonCurve},
		{"Ed25519 short", with(ed25519Key, "x", "AAAA"), encrypt.ReasonMalformed},
		{"RSA 1024", string(rsaJWK(t, sturdyModulus(1024), 65537)), encrypt.ReasonRSASize},
		{"e = 3", string(rsaJWK(t, sturdyModulus(2048), 3)), encrypt.ReasonRSAExponent},
		{"ROCA", string(rsaJWK(t, rocaModulus(), 65537)), encrypt.ReasonRSAWeakModulus},
		{"off the curve", with(p256Key, "x", jwkMembers(t, []byte(p256Key))["y"]), encrypt.ReasonNotOnCurve},
		{"JWK set", `{"keys":[` + p256Key + `]}`, encrypt.ReasonMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, err := encrypt.ParseSignatureKey([]byte(tt.jwk))
			checkReason(t, err, tt.want)
			if err != nil {
				return
			}
			again, err := encrypt.ParseSignatureKey(key.JWK())
			if err != nil || string(again.JWK()) != string(key.JWK()) {
				t.Errorf("JWK does not give the same key back: %v", err)
			}
		})
	}
}

// foreignSign signs with the library itself, so with whatever options.
func foreignSign(t *testing.T, alg jose.SignatureAlgorithm, key any, opts *jose.SignerOptions) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func TestVerifyTakesEveryAlgorithmOfTheKey(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	jwk := rsaJWK(t, private.N, 65537)
	for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512} {
		signed := foreignSign(t, alg, private, nil)
		for _, own := range []any{nil, string(alg), "RS256", "PS256"} {
			t.Run(fmt.Sprintf("%s with a key for %v", alg, own), func(t *testing.T) {
				key, err := encrypt.ParseSignatureKey(jwkWith(t, jwk, "alg", own))
				if err != nil {
					t.Fatal(err)
				}
				_, err = key.Verify(signed)
				if fits := own == nil || own == string(alg); fits != (err == nil) {
					t.Errorf("verifying: %v", err)
				}
			})
		}
	}
}

// RFC 7518 section 3.5 wants a salt as long as the hash.
func TestVerifyRefusesOtherPSSSalts(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key, err := encrypt.ParseSignatureKey(rsaJWK(t, private.N, 65537))
	if err != nil {
		t.Fatal(err)
	}
	input := encode([]byte(`{"alg":"PS256"}`)) + "." + encode([]byte("payload"))
	digest := sha256.Sum256([]byte(input))
	for _, salt := range []int{1, 20, 31, 32, 33, 64} {
		signature, err := rsa.SignPSS(rand.Reader, private, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		_, err = key.Verify(input + "." + encode(signature))
		if fits := salt == 32; fits != (err == nil) {
			t.Errorf("salt of %d bytes: %v", salt, err)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := jose.JSONWebKey{Key: &private.PublicKey}
	jwk, err := public.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	key, err := encrypt.ParseSignatureKey(jwk)
	if err != nil {
		t.Fatal(err)
	}
	good := foreignSign(t, jose.ES256, private, nil)
	if _, err := key.Verify(good); err != nil {
		t.Fatal(err)
	}
	header := func(k jose.HeaderKey, v any) *jose.SignerOptions { return new(jose.SignerOptions).WithHeader(k, v) }
	parts := strings.Split(good, ".")
	rewritten := func(h string) string { return encode([]byte(h)) + "." + parts[1] + "." + parts[2] }
	tests := []struct{ name, jws string }{
		{"alg none without signature", encode([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."},
		{"alg none", rewritten(`{"alg":"none"}`)},
		{"alg missing", rewritten(`{}`)},
		{"alg twice", rewritten(`{"alg":"ES256","alg":"ES256"}`)},
		{"ALG", rewritten(`{"ALG":"ES256"}`)},
		{"HMAC with the public key", foreignSign(t, jose.HS256, jwk, nil)},
		{"a key that the JWS brings", foreignSign(t, jose.ES256, stranger, &jose.SignerOptions{EmbedJWK: true})},
		{"a key that the JWS points to", foreignSign(t, jose.ES256, stranger, header("jku", "https://keys.example.com/"))},
		{"crit", foreignSign(t, jose.ES256, private, header("crit", []string{"exp"}))},
		{"b64 in crit", foreignSign(t, jose.ES256, private, header("crit", []string{"b64"}).WithHeader("b64", true))},
		{"b64 without crit", foreignSign(t, jose.ES256, private, header("b64", true))},
		{"detached payload", parts[0] + ".." + parts[2]},
		{"no signature", parts[0] + "." + parts[1] + "."},
		{"signature of zeros", parts[0] + "." + parts[1] + "." + encode(make([]byte, 64))},
		{"signature too long", parts[0] + "." + parts[1] + "." + encode(make([]byte, 65))},
		{"two parts", parts[0] + "." + parts[1]},
		{"four parts", good + ".AA"},
		{"padding", good + "="},
		{"line break", good[:20] + "\n" + good[20:]},
		{"JSON serialization", `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`},
		{"beyond 1 MiB", parts[0] + "." + strings.Repeat("A", 1<<20) + "." + parts[2]},
		{"a million dots", strings.Repeat(".", 1<<20)},
		{"nothing", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if payload, err := key.Verify(tt.jws); err == nil {
				t.Errorf("verified %q", payload)
			}
		})
	}
	// Keys in the header are ignored, so they are no offence either.
	for name, opts := range map[string]*jose.SignerOptions{
		"jwk":            {EmbedJWK: true},
		"jwk no key":     header("jwk", "none"),
		"x5c no chain":   header("x5c", []string{"AAAA"}),
		"kid of another": header("kid", "another"),
	} {
		if _, err := key.Verify(foreignSign(t, jose.ES256, private, opts)); err != nil {
			t.Errorf("right signature, header with %s: %v", name, err)
		}
	}
}

func TestUnverifiedPayloadRefuses(t *testing.T) {
	header := encode([]byte(`{"alg":"ES256"}`))
	for name, jws := range map[string]string{
		"nothing":        "",
		"two parts":      header + ".AA",
		"JWE":            header + ".AA.AA.AA.AA",
		"detached":       header + "..AA",
		"padding":        header + ".AA==.AA",
		"no header":      ".AA.AA",
		"header no JSON": encode([]byte("x")) + ".AA.AA",
		"beyond 1 MiB":   header + "." + strings.Repeat("A", 1<<20) + ".AA",
	} {
		t.Run(name, func(t *testing.T) {
			if payload, err := encrypt.UnverifiedPayload(jws); err == nil {
				t.Errorf("read %q", payload)
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	key := signingKey(f, "Ed25519")
	signed, err := key.Sign([]byte("payload"))
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range loadVectors(f).Signed {
		f.Add(v.Compact)
	}
	for _, seed := range []string{signed, "", "..", signed + ".", "e30.AA.AA", encode([]byte(`{"alg":"none"}`)) + ".AA.", strings.TrimRight(signed, "A")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, jws string) {
		unverified, readErr := encrypt.UnverifiedPayload(jws)
		payload, err := key.Public().Verify(jws)
		if err != nil {
			return
		}
		if jws != signed || readErr != nil || string(payload) != string(unverified) {
			t.Fatalf("verified what was not signed: %q", payload)
		}
	})
}

package encrypt_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
)

// rfc7638Key is the example of RFC 7638 section 3.1 without its alg and kid.
const rfc7638Key = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB"}`

// p256Key is the example of RFC 7515 appendix A.3, public half.
const p256Key = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`

// checkReason fails unless err is a KeyError with the wanted reason; no reason
// stands for no error.
func checkReason(t *testing.T, err error, want encrypt.Reason) {
	t.Helper()
	if err == nil {
		if want != "" {
			t.Errorf("accepted, want refused (%s)", want)
		}
		return
	}
	refused, ok := errors.AsType[*encrypt.KeyError](err)
	if !ok {
		t.Fatalf("error of type %T: %v", err, err)
	}
	if refused.Reason != want {
		t.Errorf("reason %q, want %q (%v)", refused.Reason, want, err)
	}
}

type jwkRow struct {
	name string
	jwk  string
	want encrypt.Reason // empty: accepted
}

// keyRows are the keys of the policy's decision table.
func keyRows(tb testing.TB) []jwkRow {
	tb.Helper()
	with := func(base, name string, value any) string { return string(jwkWith(tb, []byte(base), name, value)) }
	rsaWith := func(name string, value any) string { return with(rfc7638Key, name, value) }
	ecWith := func(name string, value any) string { return with(p256Key, name, value) }
	ofBits := func(bits uint) string {
		return string(rsaJWK(tb, new(big.Int).Add(power2(bits-1), big.NewInt(1)), 65537))
	}
	ofExponent := func(e int64) string { return string(rsaJWK(tb, sturdyModulus(2048), e)) }
	rsaMembers, ecMembers := jwkMembers(tb, []byte(rfc7638Key)), jwkMembers(tb, []byte(p256Key))
	n, _ := base64.RawURLEncoding.DecodeString(rsaMembers["n"].(string))
	x, _ := base64.RawURLEncoding.DecodeString(ecMembers["x"].(string))
	zeros := encode(make([]byte, 32))
	beyond := encode(slices.Repeat([]byte{0xff}, 32))
	private := pairOf(tb, "P-256").JWK()
	rsaPrivate := pairOf(tb, "RSA-2048").JWK()
	renamed := func(base, from, to string) string { return strings.Replace(base, `"`+from+`"`, `"`+to+`"`, 1) }

	rows := []jwkRow{
		{"RSA", rfc7638Key, ""},
		{"RSA 3072", string(rsaJWK(tb, sturdyModulus(3072), 65537)), ""},
		{"RSA 4096", string(rsaJWK(tb, sturdyModulus(4096), 65537)), ""},
		{"EC P-256", p256Key, ""},
		{"EC P-384", string(pairOf(tb, "P-384").Public().JWK()), ""},
		{"EC P-521", string(pairOf(tb, "P-521").Public().JWK()), ""},
		{"white space round it", "\n\t " + p256Key + " \r\n", ""},
		{"in a JSON string", string(toJSON(tb, p256Key)), ""},
		{"unknown members", rsaWith("ext", true), ""},

		{"in two JSON strings", string(toJSON(tb, string(toJSON(tb, p256Key)))), encrypt.ReasonMalformed},
		{"nothing", "", encrypt.ReasonMalformed},
		{"null", "null", encrypt.ReasonMalformed},
		{"array", "[" + p256Key + "]", encrypt.ReasonMalformed},
		{"number", "7", encrypt.ReasonMalformed},
		{"empty object", "{}", encrypt.ReasonMalformed},
		{"text that is no JSON", `"kty"`, encrypt.ReasonMalformed},
		{"unfinished", p256Key[:len(p256Key)-1], encrypt.ReasonMalformed},
		{"unfinished string", `"{}`, encrypt.ReasonMalformed},
		{"two objects", p256Key + p256Key, encrypt.ReasonMalformed},
		{"byte order mark", "\ufeff" + p256Key, encrypt.ReasonMalformed},
		{"not UTF-8", strings.Replace(p256Key, `"kty"`, "\"ext\":\"\xff\",\"kty\"", 1), encrypt.ReasonMalformed},
		{"lone surrogate", strings.Replace(p256Key, `"kty"`, `"kid":"\ud800","kty"`, 1), encrypt.ReasonMalformed},
		{"deeply nested", strings.Repeat(`{"a":`, 3000) + "1", encrypt.ReasonMalformed},
		{"duplicate n", strings.Replace(rfc7638Key, `"e"`, `"n":"AQAB","e"`, 1), encrypt.ReasonMalformed},
		{"duplicate kty, one escaped", strings.Replace(p256Key, `"crv"`, `"k\u0074y":"RSA","crv"`, 1), encrypt.ReasonMalformed},
		{"KTY", renamed(rfc7638Key, "kty", "KTY"), encrypt.ReasonMalformed},
		{"KTY beside kty", rsaWith("KTY", "oct"), encrypt.ReasonMalformed},
		{"Kelvin sign for k in kty", rsaWith("\u212aty", "oct"), encrypt.ReasonMalformed},
		{"D for d", rsaWith("D", "AQAB"), encrypt.ReasonMalformed},
		{"JWK set", `{"keys":[` + rfc7638Key + `]}`, encrypt.ReasonMalformed},
		{"JWK that is a set too", rsaWith("keys", []any{}), encrypt.ReasonMalformed},
		{"17 KiB", rsaWith("ext", strings.Repeat("x", 17<<10)), encrypt.ReasonTooLarge},
		{"kid of 1 MiB", rsaWith("kid", strings.Repeat("x", 1<<20)), encrypt.ReasonTooLarge},

		{"kty missing", ecWith("kty", nil), encrypt.ReasonMalformed},
		{"kty a number", ecWith("kty", 1), encrypt.ReasonMalformed},
		{"kty in lower case", ecWith("kty", "ec"), encrypt.ReasonUnsupportedType},
		{"oct", `{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T"}`, encrypt.ReasonPrivateMembers},
		{"oct without k", `{"kty":"oct"}`, encrypt.ReasonUnsupportedType},
		{"Ed25519", `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, encrypt.ReasonUnsupportedType},
		{"X25519", `{"kty":"OKP","crv":"X25519","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}`, encrypt.ReasonUnsupportedType},
		{"P-256 under OKP", ecWith("kty", "OKP"), encrypt.ReasonUnsupportedType},

		{"use enc", rsaWith("use", "enc"), ""},
		{"use sig", rsaWith("use", "sig"), encrypt.ReasonWrongUse},
		{"use empty", rsaWith("use", ""), encrypt.ReasonWrongUse},
		{"use null", strings.Replace(rfc7638Key, `"kty"`, `"use":null,"kty"`, 1), ""},
		{"all that is optional null", strings.Replace(rfc7638Key, `"kty"`, `"use":null,"alg":null,"kid":null,"key_ops":null,"d":null,"k":null,"keys":null,"x5c":null,"kty"`, 1), ""},
		{"kty null", ecWith("kty", json.RawMessage("null")), encrypt.ReasonMalformed},
		{"n null", rsaWith("n", json.RawMessage("null")), encrypt.ReasonMalformed},
		{"D null", rsaWith("D", json.RawMessage("null")), encrypt.ReasonMalformed},

		{"key_ops encrypt", rsaWith("key_ops", []string{"encrypt"}), ""},
		{"key_ops wrapKey and verify", rsaWith("key_ops", []string{"verify", "wrapKey"}), ""},
		{"key_ops deriveBits for EC", ecWith("key_ops", []string{"deriveBits"}), ""},
		{"key_ops empty for EC, as Web Crypto has it", ecWith("key_ops", []string{}), ""},
		{"key_ops empty for RSA", rsaWith("key_ops", []string{}), encrypt.ReasonWrongOperations},
		{"key_ops deriveBits for RSA", rsaWith("key_ops", []string{"deriveBits"}), encrypt.ReasonWrongOperations},
		{"key_ops sign", rsaWith("key_ops", []string{"sign"}), encrypt.ReasonWrongOperations},
		{"key_ops twice the same", rsaWith("key_ops", []string{"encrypt", "encrypt"}), encrypt.ReasonWrongOperations},
		{"key_ops a string", rsaWith("key_ops", "encrypt"), encrypt.ReasonMalformed},
		{"key_ops with null", rsaWith("key_ops", []any{"encrypt", nil}), encrypt.ReasonMalformed},
		{"key_ops null", strings.Replace(rfc7638Key, `"kty"`, `"key_ops":null,"kty"`, 1), ""},

		{"alg RSA-OAEP-256", rsaWith("alg", "RSA-OAEP-256"), ""},
		{"alg ECDH-ES", ecWith("alg", "ECDH-ES"), ""},
		{"alg ECDH-ES+A128KW", ecWith("alg", "ECDH-ES+A128KW"), ""},
		{"alg ECDH-ES+A256KW", ecWith("alg", "ECDH-ES+A256KW"), ""},
		{"alg ECDH-ES+A192KW", ecWith("alg", "ECDH-ES+A192KW"), encrypt.ReasonWrongAlgorithm},
		{"alg RSA-OAEP", rsaWith("alg", "RSA-OAEP"), encrypt.ReasonWrongAlgorithm},
		{"alg RSA1_5", rsaWith("alg", "RSA1_5"), encrypt.ReasonWrongAlgorithm},
		{"alg RS256", rsaWith("alg", "RS256"), encrypt.ReasonWrongAlgorithm},
		{"alg of the other type", ecWith("alg", "RSA-OAEP-256"), encrypt.ReasonWrongAlgorithm},
		{"alg none", rsaWith("alg", "none"), encrypt.ReasonWrongAlgorithm},
		{"alg empty", rsaWith("alg", ""), encrypt.ReasonWrongAlgorithm},
		{"alg a number", rsaWith("alg", 1), encrypt.ReasonWrongAlgorithm},

		{"kid", rsaWith("kid", "device key 1"), ""},
		{"kid a number", rsaWith("kid", 1), encrypt.ReasonMalformed},
		{"kid empty", rsaWith("kid", ""), encrypt.ReasonMalformed},
		{"kid with line break", rsaWith("kid", "a\nb"), encrypt.ReasonMalformed},
		{"kid of 257 bytes", rsaWith("kid", strings.Repeat("x", 257)), encrypt.ReasonTooLarge},

		{"private EC key", string(private), encrypt.ReasonPrivateMembers},
		{"private RSA key", string(rsaPrivate), encrypt.ReasonPrivateMembers},
		{"RSA 512", ofBits(512), encrypt.ReasonRSASize},
		{"RSA 768", ofBits(768), encrypt.ReasonRSASize},
		{"RSA 1024", ofBits(1024), encrypt.ReasonRSASize},
		{"RSA 1536", ofBits(1536), encrypt.ReasonRSASize},
		{"RSA 2047", ofBits(2047), encrypt.ReasonRSASize},
		{"RSA 2049", ofBits(2049), encrypt.ReasonRSASize},
		{"RSA 4097", ofBits(4097), encrypt.ReasonRSASize},
		{"RSA 90000", ofBits(90000), encrypt.ReasonRSASize},
		{"e = 1", ofExponent(1), encrypt.ReasonRSAExponent},
		{"e = 3", ofExponent(3), encrypt.ReasonRSAExponent},
		{"e even", ofExponent(65536), encrypt.ReasonRSAExponent},
		{"e = 2^31", ofExponent(1 << 31), encrypt.ReasonRSAExponent},
		{"e = 2^32 + 65537", ofExponent(1<<32 + 65537), encrypt.ReasonRSAExponent},
		{"e as long as n", rsaWith("e", rsaMembers["n"]), encrypt.ReasonRSAExponent},
		{"e = 0", rsaWith("e", "AA"), encrypt.ReasonRSAExponent},
		{"e with leading zero", rsaWith("e", "AAEAAQ"), ""},
		{"e a number", rsaWith("e", 65537), encrypt.ReasonMalformed},
		{"e missing", rsaWith("e", nil), encrypt.ReasonMalformed},
		{"n missing", rsaWith("n", nil), encrypt.ReasonMalformed},
		{"n empty", rsaWith("n", ""), encrypt.ReasonMalformed},
		{"n with leading zero byte", rsaWith("n", encode(append([]byte{0}, n...))), ""},
		{"n with many leading zero bytes", rsaWith("n", encode(append(make([]byte, 300), n...))), ""},
		{"n zero", rsaWith("n", encode(make([]byte, 256))), encrypt.ReasonRSASize},
		{"n negative in Java's two's complement", rsaWith("n", encode(append([]byte{0xff}, n...))), encrypt.ReasonRSASize},
		{"n padded", rsaWith("n", base64.URLEncoding.EncodeToString(n)), encrypt.ReasonMalformed},
		{"n in standard base64", rsaWith("n", base64.RawStdEncoding.EncodeToString(n)), encrypt.ReasonMalformed},
		{"n with line break", rsaWith("n", rsaMembers["n"].(string)[:100]+"\n"+rsaMembers["n"].(string)[100:]), encrypt.ReasonMalformed},
		{"n with stray last bits", rsaWith("n", strings.TrimSuffix(rsaMembers["n"].(string), "w")+"x"), encrypt.ReasonMalformed},
		{"n smooth", string(rsaJWK(tb, new(big.Int).Sub(power2(2048), big.NewInt(1)), 65537)), encrypt.ReasonRSAWeakModulus},
		{"n even", string(rsaJWK(tb, new(big.Int).Add(power2(2047), big.NewInt(2)), 65537)), encrypt.ReasonRSAWeakModulus},
		{"n of close factors", string(rsaJWK(tb, closeModulus(10), 65537)), encrypt.ReasonRSAWeakModulus},
		{"n with ROCA fingerprint", string(rsaJWK(tb, rocaModulus(), 65537)), encrypt.ReasonRSAWeakModulus},

		{"crv missing", ecWith("crv", nil), encrypt.ReasonCurve},
		{"crv secp256k1", ecWith("crv", "secp256k1"), encrypt.ReasonCurve},
		{"crv P-224", ecWith("crv", "P-224"), encrypt.ReasonCurve},
		{"crv Ed25519 under EC", ecWith("crv", "Ed25519"), encrypt.ReasonCurve},
		{"crv of another length", ecWith("crv", "P-384"), encrypt.ReasonNotOnCurve},
		{"off the curve", ecWith("y", ecMembers["x"]), encrypt.ReasonNotOnCurve},
		{"x and y zero", string(jwkWith(tb, []byte(ecWith("x", zeros)), "y", zeros)), encrypt.ReasonNotOnCurve},
		{"x beyond the field", ecWith("x", beyond), encrypt.ReasonNotOnCurve},
		{"x without its first byte", ecWith("x", encode(x[1:])), encrypt.ReasonNotOnCurve},
		{"x long", ecWith("x", encode(append([]byte{1}, x...))), encrypt.ReasonMalformed},
		{"x with a sign byte", ecWith("x", encode(append([]byte{0}, x...))), ""},
		{"x empty", ecWith("x", ""), encrypt.ReasonMalformed},
		{"y missing", ecWith("y", nil), encrypt.ReasonMalformed},
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		rows = append(rows,
			jwkRow{"RSA with " + name, rsaWith(name, "AQAB"), encrypt.ReasonPrivateMembers},
			jwkRow{"EC with empty " + name, ecWith(name, ""), encrypt.ReasonPrivateMembers})
	}
	return rows
}

func TestJWKPolicy(t *testing.T) {
	for _, tt := range keyRows(t) {
		t.Run(tt.name, func(t *testing.T) {
			key, err := encrypt.ParseKey([]byte(tt.jwk), encrypt.Policy{})
			checkReason(t, err, tt.want)
			if err != nil {
				return
			}
			again, err := encrypt.ParseKey(key.JWK(), encrypt.Policy{})
			if err != nil {
				t.Fatalf("parsing what JWK gave: %v", err)
			}
			if again.Thumbprint() != key.Thumbprint() || string(again.JWK()) != string(key.JWK()) {
				t.Error("JWK does not give the same key back")
			}
			if _, err := key.Seal([]byte("message")); err != nil {
				t.Errorf("sealing for an accepted key: %v", err)
			}
		})
	}
}

// Every spelling of the same key becomes the same record: Java's BigInteger
// writes a sign byte or strips zeros, Gson and Moshi write null members.
func TestSpellingsOfAKey(t *testing.T) {
	ec := shortCoordinates(t)
	for name, base := range map[string]string{"RSA": rfc7638Key, "EC": ec} {
		want, err := encrypt.ParseKey([]byte(base), encrypt.Policy{})
		if err != nil {
			t.Fatal(err)
		}
		members := jwkMembers(t, []byte(base))
		for _, member := range []string{"n", "e", "x", "y"} {
			text, ok := members[member].(string)
			if !ok {
				continue
			}
			octets, err := base64.RawURLEncoding.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			stripped := octets
			for stripped[0] == 0 {
				stripped = stripped[1:]
			}
			for form, octets := range map[string][]byte{
				"stripped": stripped, "with a sign byte": append([]byte{0}, stripped...), "with zeros": append(make([]byte, 7), octets...),
			} {
				jwk := jwkWith(t, []byte(base), member, encode(octets))
				jwk = jwkWith(t, jwk, "kid", json.RawMessage("null"))
				got, err := encrypt.ParseKey(jwk, encrypt.Policy{})
				if err != nil {
					t.Errorf("%s, %s %s: %v", name, member, form, err)
					continue
				}
				if got.Thumbprint() != want.Thumbprint() || string(got.JWK()) != string(want.JWK()) {
					t.Errorf("%s, %s %s: another key: %s", name, member, form, got.JWK())
				}
				signature, err := encrypt.ParseSignatureKey(jwk)
				if err != nil || string(signature.JWK()) != string(want.JWK()) {
					t.Errorf("%s, %s %s, for signatures: %v", name, member, form, err)
				}
			}
		}
	}
}

// shortCoordinates returns an EC key whose x begins with a zero byte.
func shortCoordinates(t *testing.T) string {
	t.Helper()
	for {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		point, err := key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if point[1] == 0 {
			return fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, encode(point[1:33]), encode(point[33:]))
		}
	}
}

// A refusal names the member, which is what an app's developer can mend.
func TestRefusalNamesTheMember(t *testing.T) {
	for name, c := range map[string]struct {
		base, member string
		value        any
	}{
		"use": {rfc7638Key, "use", "sig"}, "alg": {rfc7638Key, "alg", "RSA1_5"}, "kid": {rfc7638Key, "kid", 7},
		"key_ops": {rfc7638Key, "key_ops", []string{"sign"}}, "kty": {rfc7638Key, "kty", "oct"}, "crv": {p256Key, "crv", "P-224"},
		"n": {rfc7638Key, "n", "AQAB"}, "e": {rfc7638Key, "e", "Aw"}, "x": {p256Key, "x", "AQAB"}, "y": {p256Key, "y", 7}, "d": {p256Key, "d", "AQAB"},
	} {
		_, err := encrypt.ParseKey(jwkWith(t, []byte(c.base), c.member, c.value), encrypt.Policy{})
		refused, ok := errors.AsType[*encrypt.KeyError](err)
		if !ok || !regexp.MustCompile(`\b`+name+`\b`).MatchString(err.Error()) || !strings.Contains(err.Error(), string(refused.Reason)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMinRSABits(t *testing.T) {
	tests := []struct {
		bits, min int
		want      encrypt.Reason
	}{
		{2048, 0, ""},
		{2048, -1, ""},
		{2048, 1024, ""},
		{2048, 2048, ""},
		{2048, 2049, encrypt.ReasonRSASize},
		{2048, 3072, encrypt.ReasonRSASize},
		{3072, 3072, ""},
		{3072, 4096, encrypt.ReasonRSASize},
		{4096, 4096, ""},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d of %d", tt.bits, tt.min), func(t *testing.T) {
			_, err := encrypt.ParseKey(rsaJWK(t, sturdyModulus(uint(tt.bits)), 65537), encrypt.Policy{MinRSABits: tt.min})
			checkReason(t, err, tt.want)
		})
	}
	if _, err := encrypt.ParseKey([]byte(p256Key), encrypt.Policy{MinRSABits: 4096}); err != nil {
		t.Errorf("MinRSABits refuses an EC key: %v", err)
	}
}

func TestThumbprint(t *testing.T) {
	key, err := encrypt.ParseKey([]byte(rfc7638Key), encrypt.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	const want = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" // RFC 7638 section 3.1
	if got := key.Thumbprint(); got != want {
		t.Errorf("thumbprint %s, want %s", got, want)
	}
	// The kid takes no part in it: it tells nothing about the key.
	named, err := encrypt.ParseKey(jwkWith(t, []byte(rfc7638Key), "kid", "another"), encrypt.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	if got := named.Thumbprint(); got != want {
		t.Errorf("thumbprint with kid %s, want %s", got, want)
	}
}

// The thumbprints of two sources agree, for EC keys too.
func TestThumbprintOfEC(t *testing.T) {
	const want = "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U" // RFC 7515 appendix A.3 key
	key, err := encrypt.ParseKey([]byte(p256Key), encrypt.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	if got := key.Thumbprint(); got != want {
		t.Errorf("thumbprint %s, want %s", got, want)
	}
}

func TestJWKKeepsPublicMembersOnly(t *testing.T) {
	tests := []struct {
		name string
		base string
		want []string
	}{
		{"RSA", rfc7638Key, []string{"alg", "e", "kid", "kty", "n", "use"}},
		{"EC", p256Key, []string{"alg", "crv", "kid", "kty", "use", "x", "y"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := jwkMembers(t, []byte(tt.base))
			maps.Copy(m, map[string]any{
				"use": "enc", "kid": "key 1", "alg": "RSA-OAEP-256", "key_ops": []string{"encrypt"}, "ext": true,
				"x5u": "https://keys.example.com/", "x5c": []string{"MIIB"}, "x5t": "AQAB", "jku": "https://keys.example.com/",
			})
			if tt.name == "EC" {
				m["alg"] = "ECDH-ES"
			}
			key, err := encrypt.ParseKey(toJSON(t, m), encrypt.Policy{})
			if err != nil {
				t.Fatal(err)
			}
			kept := jwkMembers(t, key.JWK())
			if got := slices.Sorted(maps.Keys(kept)); !slices.Equal(got, tt.want) {
				t.Errorf("kept %v, want %v", got, tt.want)
			}
			for name, value := range kept {
				if m[name] != value {
					t.Errorf("%s changed from %v to %v", name, m[name], value)
				}
			}
			key.JWK()[0] = 'X'
			if !json.Valid(key.JWK()) {
				t.Error("a caller can change the key")
			}
		})
	}
}

func TestKeyURLsAreNotFetched(t *testing.T) {
	var fetched atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fetched.Add(1) }))
	defer server.Close()
	jwk := jwkWith(t, jwkWith(t, []byte(rfc7638Key), "x5u", server.URL), "jku", server.URL)
	key, err := encrypt.ParseKey(jwkWith(t, jwk, "x5c", []string{"AAAA"}), encrypt.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := key.Seal(nil); err != nil {
		t.Fatal(err)
	}
	if n := fetched.Load(); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

// What a device uploads by mistake must not reach a log by way of an error.
func TestKeyErrorsHoldNoKeyMaterial(t *testing.T) {
	const canary = "c2VjcmV0LWNhbmFyeS1rZXktbWF0ZXJpYWwtZG8tbm90LWxvZw"
	for _, base := range []string{rfc7638Key, p256Key} {
		for _, name := range []string{"kty", "use", "alg", "kid", "key_ops", "crv", "n", "e", "x", "y", "d", "k", "keys", canary} {
			for _, value := range []string{canary, canary + "\n", canary + "\xff"} {
				m := jwkMembers(t, []byte(base))
				m[name] = value
				for _, jwk := range [][]byte{toJSON(t, m), append(toJSON(t, m), canary...)} {
					for _, parse := range parsers {
						if err := parse(jwk); err != nil && strings.Contains(err.Error(), canary) {
							t.Errorf("the error about %q repeats it: %v", name, err)
						}
					}
				}
			}
		}
	}
}

var parsers = []func([]byte) error{
	func(jwk []byte) error { _, err := encrypt.ParseKey(jwk, encrypt.Policy{}); return err },
	func(jwk []byte) error { _, err := encrypt.ParseSignatureKey(jwk); return err },
}

// knownReasons is the closed set that metrics are labelled with.
var knownReasons = []encrypt.Reason{
	encrypt.ReasonTooLarge, encrypt.ReasonMalformed, encrypt.ReasonPrivateMembers, encrypt.ReasonUnsupportedType,
	encrypt.ReasonWrongUse, encrypt.ReasonWrongOperations, encrypt.ReasonWrongAlgorithm, encrypt.ReasonRSASize,
	encrypt.ReasonRSAExponent, encrypt.ReasonRSAWeakModulus, encrypt.ReasonCurve, encrypt.ReasonNotOnCurve,
}

// FuzzKey vets keys. One that is taken is written as the same key, and with no
// members but the public ones that are known. FuzzJWK is for what comes before the
// numbers.
func FuzzKey(f *testing.F) {
	for _, row := range keyRows(f) {
		f.Add([]byte(row.jwk))
	}
	f.Fuzz(func(t *testing.T, jwk []byte) {
		for _, parse := range parsers {
			if err := parse(jwk); err != nil {
				if refused, ok := errors.AsType[*encrypt.KeyError](err); !ok || !slices.Contains(knownReasons, refused.Reason) {
					t.Fatalf("refused for no known reason: %v", err)
				}
			}
		}
		key, err := encrypt.ParseKey(jwk, encrypt.Policy{})
		if err != nil {
			return
		}
		for name := range jwkMembers(t, key.JWK()) {
			if !slices.Contains([]string{"kty", "use", "alg", "kid", "n", "e", "crv", "x", "y"}, name) {
				t.Fatalf("member %q is kept", name)
			}
		}
		again, err := encrypt.ParseKey(key.JWK(), encrypt.Policy{})
		if err != nil || string(again.JWK()) != string(key.JWK()) || again.Thumbprint() != key.Thumbprint() {
			t.Fatalf("what JWK gave is not the same key: %v", err)
		}
	})
}

package encrypt_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
)

func TestSealAndOpen(t *testing.T) {
	for name, pair := range everyPair(t) {
		t.Run(name, func(t *testing.T) {
			for _, message := range []string{"", "x", `{"token":"t"}`, strings.Repeat("ü", 100_000)} {
				sealed, err := pair.Public().Seal([]byte(message))
				if err != nil {
					t.Fatal(err)
				}
				if !encrypt.IsSealed(sealed) {
					t.Error("IsSealed does not know our own message")
				}
				opened, err := pair.Open(sealed)
				if err != nil {
					t.Fatal(err)
				}
				if string(opened) != message {
					t.Errorf("opened %.40q, want %.40q", opened, message)
				}
			}
		})
	}
}

func TestHeaderIsExact(t *testing.T) {
	tests := []struct {
		pair, alg, enc string
		members        []string
	}{
		{"RSA-2048", "RSA-OAEP-256", "A256CBC-HS512", []string{"alg", "enc"}},
		{"RSA-3072", "RSA-OAEP-256", "A256CBC-HS512", []string{"alg", "enc"}},
		{"RSA-4096", "RSA-OAEP-256", "A256CBC-HS512", []string{"alg", "enc"}},
		{"P-256", "ECDH-ES+A256KW", "A256GCM", []string{"alg", "enc", "epk"}},
		{"P-384", "ECDH-ES+A256KW", "A256GCM", []string{"alg", "enc", "epk"}},
		{"P-521", "ECDH-ES+A256KW", "A256GCM", []string{"alg", "enc", "epk"}},
		{"P-256 ECDH-ES", "ECDH-ES", "A256GCM", []string{"alg", "enc", "epk"}},
		{"P-256 ECDH-ES+A128KW", "ECDH-ES+A128KW", "A256GCM", []string{"alg", "enc", "epk"}},
	}
	pairs := everyPair(t)
	for _, tt := range tests {
		t.Run(tt.pair, func(t *testing.T) {
			// A kid must not end up in the header: it would tell devices apart.
			key, err := encrypt.ParseKey(jwkWith(t, pairs[tt.pair].Public().JWK(), "kid", "device"), encrypt.Policy{})
			if err != nil {
				t.Fatal(err)
			}
			if alg, enc := key.Algorithms(); alg != tt.alg || enc != tt.enc {
				t.Errorf("algorithms %s and %s, want %s and %s", alg, enc, tt.alg, tt.enc)
			}
			sealed, err := key.Seal([]byte("message"))
			if err != nil {
				t.Fatal(err)
			}
			header := headerOf(t, sealed)
			if got := slices.Sorted(maps.Keys(header)); !slices.Equal(got, tt.members) {
				t.Errorf("header members %v, want %v", got, tt.members)
			}
			if header["alg"] != tt.alg || header["enc"] != tt.enc {
				t.Errorf("header names %v and %v, want %s and %s", header["alg"], header["enc"], tt.alg, tt.enc)
			}
			if epk, ok := header["epk"].(map[string]any); ok {
				if got := slices.Sorted(maps.Keys(epk)); !slices.Equal(got, []string{"crv", "kty", "x", "y"}) {
					t.Errorf("epk members %v", got)
				}
			}
		})
	}
}

func TestMessagesShareNothing(t *testing.T) {
	const messages = 2000
	for _, kind := range []string{"RSA-2048", "P-256"} {
		t.Run(kind, func(t *testing.T) {
			key := pairOf(t, kind).Public()
			seen := make(map[string]bool)
			var mu sync.Mutex
			var group sync.WaitGroup
			for range 4 { // a Key is safe for concurrent use
				group.Go(func() {
					for range messages / 4 {
						sealed, err := key.Seal([]byte("the same message"))
						if err != nil {
							t.Error(err)
							return
						}
						parts := strings.Split(sealed, ".")
						mu.Lock()
						for i, what := range map[int]string{1: "key ", 2: "iv ", 3: "ciphertext "} {
							if seen[what+parts[i]] {
								t.Errorf("%s %s comes twice", what, parts[i])
							}
							seen[what+parts[i]] = true
						}
						mu.Unlock()
					}
				})
			}
			group.Wait()
			if len(seen) != 3*messages {
				t.Errorf("%d distinct parts, want %d", len(seen), 3*messages)
			}
		})
	}
}

func TestSealRefusesWhatWouldNotOpen(t *testing.T) {
	pair := pairOf(t, "P-256")
	largest := bytes.Repeat([]byte("x"), 512<<10)
	sealed, err := pair.Public().Seal(largest)
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := pair.Open(sealed); err != nil || !bytes.Equal(opened, largest) {
		t.Errorf("the largest message does not open: %v", err)
	}
	if _, err := pair.Public().Seal(append(largest, 'x')); err == nil {
		t.Error("a message beyond 512 KiB was sealed")
	}
}

// foreignSeal seals with the library itself, so with whatever options.
func foreignSeal(t *testing.T, key any, alg jose.KeyAlgorithm, enc jose.ContentEncryption, opts *jose.EncrypterOptions) string {
	t.Helper()
	e, err := jose.NewEncrypter(enc, jose.Recipient{Algorithm: alg, Key: key, PBES2Count: 1000}, opts)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := e.Encrypt([]byte(strings.Repeat("message ", 100)))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := sealed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// rawKey is the key of a pair as the library wants it.
func rawKey(t *testing.T, pair *devicekey.PrivateKey) any {
	t.Helper()
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(pair.Public().JWK()); err != nil {
		t.Fatal(err)
	}
	return jwk.Key
}

func TestOpenRefuses(t *testing.T) {
	rsaPair, ecPair := pairOf(t, "RSA-2048"), pairOf(t, "P-256")
	rsaKey, ecKey := rawKey(t, rsaPair), rawKey(t, ecPair)
	header := func(k jose.HeaderKey, v any) *jose.EncrypterOptions {
		return new(jose.EncrypterOptions).WithHeader(k, v)
	}
	type row struct {
		name    string
		pair    *devicekey.PrivateKey
		compact string
	}
	tests := []row{
		{"RSA1_5", rsaPair, foreignSeal(t, rsaKey, jose.RSA1_5, jose.A256CBC_HS512, nil)},
		{"RSA-OAEP with SHA-1", rsaPair, foreignSeal(t, rsaKey, jose.RSA_OAEP, jose.A256CBC_HS512, nil)},
		{"another enc for RSA", rsaPair, foreignSeal(t, rsaKey, jose.RSA_OAEP_256, jose.A256GCM, nil)},
		{"a weaker enc for RSA", rsaPair, foreignSeal(t, rsaKey, jose.RSA_OAEP_256, jose.A128CBC_HS256, nil)},
		{"another enc for EC", ecPair, foreignSeal(t, ecKey, jose.ECDH_ES_A256KW, jose.A128GCM, nil)},
		{"A192KW", ecPair, foreignSeal(t, ecKey, jose.ECDH_ES_A192KW, jose.A256GCM, nil)},
		{"an alg other than the key's own", ecPair, foreignSeal(t, ecKey, jose.ECDH_ES, jose.A256GCM, nil)},
		{"zip", rsaPair, foreignSeal(t, rsaKey, jose.RSA_OAEP_256, jose.A256CBC_HS512, &jose.EncrypterOptions{Compression: jose.DEFLATE})},
		{"crit", ecPair, foreignSeal(t, ecKey, jose.ECDH_ES_A256KW, jose.A256GCM, header("crit", []string{"exp"}))},
		{"empty crit", ecPair, foreignSeal(t, ecKey, jose.ECDH_ES_A256KW, jose.A256GCM, header("crit", []string{}))},
		{"PBES2", ecPair, foreignSeal(t, []byte("password"), jose.PBES2_HS256_A128KW, jose.A256GCM, nil)},
		{"dir", ecPair, foreignSeal(t, make([]byte, 32), jose.DIRECT, jose.A256GCM, nil)},
		{"the EC key's message with the RSA key", rsaPair, seal(t, ecPair)},
		{"the RSA key's message with the EC key", ecPair, seal(t, rsaPair)},
		{"epk on another curve", ecPair, seal(t, pairOf(t, "P-384"))},
		{"another RSA key", rsaPair, seal(t, pairOf(t, "RSA-4096"))},
		{"JSON serialization", ecPair, `{"protected":"e30","ciphertext":"AA","iv":"AA","tag":"AA"}`},
		{"nothing", ecPair, ""},
		{"four dots", ecPair, "...."},
		{"a JWS", ecPair, "e30.e30.AA"},
		{"a million dots", ecPair, strings.Repeat(".", 1<<20)},
		{"beyond 1 MiB", ecPair, seal(t, ecPair) + strings.Repeat("A", 1<<20)},
		{"trailing line break", ecPair, seal(t, ecPair) + "\n"},
		{"padding", ecPair, seal(t, ecPair) + "=="},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if opened, err := tt.pair.Open(tt.compact); err == nil {
				t.Errorf("opened to %.40q", opened)
			}
		})
	}
}

func seal(t *testing.T, pair *devicekey.PrivateKey) string {
	t.Helper()
	sealed, err := pair.Public().Seal([]byte("a message that nobody changed"))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// Whatever character of a message is changed, it does not open any more.
func TestOpenRefusesEveryChange(t *testing.T) {
	for _, kind := range []string{"RSA-2048", "P-256"} {
		t.Run(kind, func(t *testing.T) {
			pair := pairOf(t, kind)
			sealed := seal(t, pair)
			characters := []byte{'A', '_', '.', ' '}
			for i := range sealed {
				for _, c := range testservice.Few(characters, i) {
					changed := []byte(sealed)
					changed[i] = c
					if sealed[i] == c {
						continue
					}
					if _, err := pair.Open(string(changed)); err == nil {
						t.Fatalf("opens with character %d changed to %q", i, c)
					}
				}
			}
		})
	}
}

func TestOpenWithHostileEphemeralKey(t *testing.T) {
	pair := pairOf(t, "P-256")
	parts := strings.Split(seal(t, pair), ".")
	zeros := encode(make([]byte, 32))
	point := jwkMembers(t, []byte(p256Key))
	for name, epk := range map[string]any{
		"missing":       nil,
		"null members":  map[string]any{"kty": "EC", "crv": nil, "x": nil, "y": nil},
		"off the curve": map[string]any{"kty": "EC", "crv": "P-256", "x": point["x"], "y": point["x"]},
		"zero":          map[string]any{"kty": "EC", "crv": "P-256", "x": zeros, "y": zeros},
		"short":         map[string]any{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
		"P-521":         jwkMembers(t, pairOf(t, "P-521").Public().JWK()),
		"RSA":           jwkMembers(t, []byte(rfc7638Key)),
		"oct":           map[string]any{"kty": "oct", "k": "AAAA"},
		"private":       jwkMembers(t, pairOf(t, "P-256").JWK()),
		"string":        p256Key,
	} {
		t.Run(name, func(t *testing.T) {
			header := headerOf(t, parts[0])
			header["epk"] = epk
			parts := slices.Clone(parts)
			parts[0] = encode(toJSON(t, header))
			if _, err := pair.Open(strings.Join(parts, ".")); err == nil {
				t.Error("opened")
			}
		})
	}
}

func TestIsSealed(t *testing.T) {
	const body = ".AA.AA.AA.AA"
	header := func(text string) string { return encode([]byte(text)) }
	tests := []struct {
		name string
		text string
		want bool
	}{
		{"smallest", header(`{"alg":"ECDH-ES","enc":"A256GCM"}`) + body, true},
		{"empty encrypted key and ciphertext", header(`{"alg":"ECDH-ES","enc":"A256GCM"}`) + "..AA..AA", true},
		{"other members", header(`{"alg":"ECDH-ES","enc":"A256GCM","x":[{}]}`) + body, true},
		{"as nevisFIDO documents it", header(`{"alg":"RSA-OAEP-256","enc":"A256CBC-HS512"}`) + body, true},
		{"alg dir", header(`{"alg":"dir","enc":"A256GCM"}`) + body, false},
		{"alg RSA1_5", header(`{"alg":"RSA1_5","enc":"A256GCM"}`) + body, false},
		{"alg RSA-OAEP", header(`{"alg":"RSA-OAEP","enc":"A256GCM"}`) + body, false},
		{"alg in another letter case", header(`{"alg":"rsa-oaep-256","enc":"A256GCM"}`) + body, false},
		{"alg none", header(`{"alg":"none","enc":"A256GCM"}`) + body, false},
		{"enc A128GCM", header(`{"alg":"RSA-OAEP-256","enc":"A128GCM"}`) + body, false},
		{"enc none", header(`{"alg":"RSA-OAEP-256","enc":"none"}`) + body, false},
		{"nothing", "", false},
		{"plain message", `{"token":"t","redeem_url":"https://login.example.com/"}`, false},
		{"plain message in base64url", header(`{"token":"t"}`), false},
		{"JWS", header(`{"alg":"ES256"}`) + ".AA.AA", false},
		{"four parts", header(`{"alg":"ECDH-ES","enc":"A256GCM"}`) + ".AA.AA.AA", false},
		{"six parts", header(`{"alg":"ECDH-ES","enc":"A256GCM"}`) + body + ".AA", false},
		{"four dots", "....", false},
		{"no iv", header(`{"alg":"ECDH-ES","enc":"A256GCM"}`) + ".AA..AA.AA", false},
		{"no tag", header(`{"alg":"ECDH-ES","enc":"A256GCM"}`) + ".AA.AA.AA.", false},
		{"no enc", header(`{"alg":"ECDH-ES"}`) + body, false},
		{"no alg", header(`{"enc":"A256GCM"}`) + body, false},
		{"alg a number", header(`{"alg":1,"enc":"A256GCM"}`) + body, false},
		{"enc null", header(`{"alg":"ECDH-ES","enc":null}`) + body, false},
		{"ALG", header(`{"ALG":"ECDH-ES","enc":"A256GCM"}`) + body, false},
		{"alg twice", header(`{"alg":"ECDH-ES","alg":"ECDH-ES","enc":"A256GCM"}`) + body, false},
		{"header an array", header(`["alg","enc"]`) + body, false},
		{"header with a tail", header(`{"alg":"ECDH-ES","enc":"A256GCM"} x`) + body, false},
		{"header not UTF-8", header("{\"alg\":\"dir\xff\",\"enc\":\"A256GCM\"}") + body, false},
		{"padded", header(`{"alg":"ECDH-ES","enc":"A256GCM"}`) + ".AA.AA.AA.AA==", false},
		{"impossible length", header(`{"alg":"ECDH-ES","enc":"A256GCM"}`) + ".AA.AA.AA.A", false},
		{"stray last bits", header(`{"alg":"ECDH-ES","enc":"A256GCM"}`) + ".AA.AA.AA.AB", false},
		{"standard base64", header(`{"alg":"ECDH-ES","enc":"A256GCM"}`) + ".AA.AA.AA.+/+/", false},
		{"line break", header(`{"alg":"ECDH-ES","enc":"A256GCM"}`) + ".AA.AA.AA.AA\n", false},
		{"not ASCII", header(`{"alg":"ECDH-ES","enc":"A256GCM"}`) + ".AA.AA.AA.ÄÄ", false},
		{"header beyond 8 KiB", header(`{"alg":"ECDH-ES","enc":"A256GCM","x":"`+strings.Repeat("x", 8<<10)+`"}`) + body, false},
		{"beyond 1 MiB", header(`{"alg":"ECDH-ES","enc":"A256GCM"}`) + ".AA.AA." + strings.Repeat("A", 1<<20) + ".AA", false},
		{"a million dots", strings.Repeat(".", 1<<20), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := encrypt.IsSealed(tt.text); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}

// A long text that is no JWE must cost next to nothing.
func TestIsSealedAllocations(t *testing.T) {
	for name, text := range map[string]string{
		"dots":         strings.Repeat(".", 1<<20),
		"no dots":      strings.Repeat("A", 1<<20),
		"five parts":   strings.Repeat(strings.Repeat("A", 200_000)+".", 4) + "AA",
		"beyond bound": strings.Repeat("A", 8<<20),
	} {
		t.Run(name, func(t *testing.T) {
			if n := testing.AllocsPerRun(5, func() { encrypt.IsSealed(text) }); n > 10 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func TestRFCExamples(t *testing.T) {
	vectors := loadVectors(t)
	for _, v := range vectors.Sealed {
		t.Run(v.Source, func(t *testing.T) {
			if got := encrypt.IsSealed(v.Compact); got != ours(headerOf(t, v.Compact)) {
				t.Errorf("taken for a message of ours: %t", got)
			}
			if v.Key == nil {
				return
			}
			key, err := encrypt.ParseKey(v.Key, encrypt.Policy{})
			if err != nil {
				t.Fatal(err)
			}
			// None of the examples uses algorithms that we use.
			alg, enc := key.Algorithms()
			if header := headerOf(t, v.Compact); header["alg"] == alg && header["enc"] == enc {
				t.Error("the example is one that we could open: this test wants to grow")
			}
		})
	}
	for _, v := range vectors.Signed {
		t.Run(v.Source, func(t *testing.T) {
			key, err := encrypt.ParseSignatureKey(v.Key)
			if err != nil {
				t.Fatal(err)
			}
			payload, err := key.Verify(v.Compact)
			if err != nil {
				t.Fatal(err)
			}
			if string(payload) != v.Payload {
				t.Errorf("payload %q, want %q", payload, v.Payload)
			}
		})
	}
	if len(vectors.Sealed) < 9 || len(vectors.Signed) < 5 {
		t.Errorf("only %d and %d examples were read", len(vectors.Sealed), len(vectors.Signed))
	}
}

// ours tells whether a header names algorithms of nevisFIDO or of ours.
func ours(header map[string]any) bool {
	return slices.Contains([]any{"RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"}, header["alg"]) &&
		slices.Contains([]any{"A256GCM", "A256CBC-HS512"}, header["enc"])
}

func FuzzIsSealed(f *testing.F) {
	pair := pairOf(f, "P-256")
	sealed, err := pair.Public().Seal([]byte("message"))
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range loadVectors(f).Sealed {
		f.Add(v.Compact)
	}
	for _, seed := range []string{sealed, "", "....", "e30.AA.AA.AA.AA", sealed + "=", sealed + ".", sealed + "\n", strings.Replace(sealed, ".", "..", 1)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		opened, err := pair.Open(text)
		if err == nil && (text != sealed || string(opened) != "message") {
			t.Fatalf("opened what we did not seal: %q", opened)
		}
		if !encrypt.IsSealed(text) {
			if err == nil {
				t.Fatal("opens, yet is not taken for a JWE")
			}
			return
		}
		header := headerOf(t, text)
		if strings.Count(text, ".") != 4 || !ours(header) {
			t.Fatalf("taken for a JWE: %s", fmt.Sprintf("%.100q", text))
		}
	})
}

package encrypt_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
)

// TestSeal seals with each kind of key and algorithm. The message opens, and its
// header has no member that is not needed.
func TestSeal(t *testing.T) {
	pairs := everyPair(t)
	for name, alg := range map[string]string{
		"RSA-2048": "RSA-OAEP-256", "RSA-3072": "RSA-OAEP-256", "RSA-4096": "RSA-OAEP-256",
		"P-256": "ECDH-ES+A256KW", "P-384": "ECDH-ES+A256KW", "P-521": "ECDH-ES+A256KW",
		"P-256 ECDH-ES": "ECDH-ES", "P-256 ECDH-ES+A128KW": "ECDH-ES+A128KW",
	} {
		t.Run(name, func(t *testing.T) {
			enc, members := "A256GCM", []string{"alg", "enc", "epk"}
			if strings.HasPrefix(name, "RSA") {
				enc, members = "A256CBC-HS512", []string{"alg", "enc"}
			}
			// A kid must not end up in the header: it would tell devices apart.
			key := parseKey(t, jwkWith(t, pairs[name].Public().JWK(), "kid", "device"))
			if gotAlg, gotEnc := key.Algorithms(); gotAlg != alg || gotEnc != enc {
				t.Errorf("algorithms %s and %s, want %s and %s", gotAlg, gotEnc, alg, enc)
			}
			largest := strings.Repeat("ü", 256<<10)
			for _, message := range []string{"", "x", `{"token":"t"}`, largest} {
				sealed, err := key.Seal([]byte(message))
				if err != nil {
					t.Fatal(err)
				}
				if !encrypt.IsSealed(sealed) {
					t.Error("IsSealed does not know our own message")
				}
				if opened, err := pairs[name].Open(sealed); err != nil || string(opened) != message {
					t.Errorf("opened %.40q, want %.40q: %v", opened, message, err)
				}
				header := headerOf(t, sealed)
				if got := slices.Sorted(maps.Keys(header)); !slices.Equal(got, members) || header["alg"] != alg || header["enc"] != enc {
					t.Errorf("header %v, want %v with %s and %s", header, members, alg, enc)
				}
				if epk, ok := header["epk"].(map[string]any); ok {
					if got := slices.Sorted(maps.Keys(epk)); !slices.Equal(got, []string{"crv", "kty", "x", "y"}) {
						t.Errorf("epk members %v", got)
					}
				}
			}
			if _, err := key.Seal([]byte(largest + "x")); err == nil {
				t.Error("a message beyond 512 KiB was sealed")
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

func TestIsSealed(t *testing.T) {
	const body = ".AA.AA.AA.AA"
	header := func(text string) string { return encode([]byte(text)) }
	good := header(`{"alg":"ECDH-ES","enc":"A256GCM"}`)
	tests := []struct {
		name string
		text string
		want bool
	}{
		{"smallest", good + body, true},
		{"empty encrypted key and ciphertext", good + "..AA..AA", true},
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
		{"four parts", good + ".AA.AA.AA", false},
		{"six parts", good + body + ".AA", false},
		{"four dots", "....", false},
		{"no iv", good + ".AA..AA.AA", false},
		{"no tag", good + ".AA.AA.AA.", false},
		{"no enc", header(`{"alg":"ECDH-ES"}`) + body, false},
		{"no alg", header(`{"enc":"A256GCM"}`) + body, false},
		{"alg a number", header(`{"alg":1,"enc":"A256GCM"}`) + body, false},
		{"enc null", header(`{"alg":"ECDH-ES","enc":null}`) + body, false},
		{"ALG", header(`{"ALG":"ECDH-ES","enc":"A256GCM"}`) + body, false},
		{"alg twice", header(`{"alg":"ECDH-ES","alg":"ECDH-ES","enc":"A256GCM"}`) + body, false},
		{"header an array", header(`["alg","enc"]`) + body, false},
		{"header with a tail", header(`{"alg":"ECDH-ES","enc":"A256GCM"} x`) + body, false},
		{"header not UTF-8", header("{\"alg\":\"dir\xff\",\"enc\":\"A256GCM\"}") + body, false},
		{"padded", good + ".AA.AA.AA.AA==", false},
		{"impossible length", good + ".AA.AA.AA.A", false},
		{"stray last bits", good + ".AA.AA.AA.AB", false},
		{"standard base64", good + ".AA.AA.AA.+/+/", false},
		{"line break", good + ".AA.AA.AA.AA\n", false},
		{"not ASCII", good + ".AA.AA.AA.ÄÄ", false},
		{"header beyond 8 KiB", header(`{"alg":"ECDH-ES","enc":"A256GCM","x":"`+strings.Repeat("x", 8<<10)+`"}`) + body, false},
		{"beyond 1 MiB", good + ".AA.AA." + strings.Repeat("A", 1<<20) + ".AA", false},
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
		})
	}
	for _, v := range vectors.Signed {
		t.Run(v.Source, func(t *testing.T) {
			payload, err := parseSignatureKey(t, v.Key).Verify(v.Compact)
			if err != nil || string(payload) != v.Payload {
				t.Errorf("payload %q, want %q: %v", payload, v.Payload, err)
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

package encrypt_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
)

var kinds = []string{"RSA-2048", "RSA-3072", "RSA-4096", "P-256", "P-384", "P-521"}

// generated keeps the keys of a test run: an RSA-4096 key takes seconds.
var generated sync.Map

func pairOf(tb testing.TB, kind string) *devicekey.PrivateKey {
	tb.Helper()
	if pair, ok := generated.Load(kind); ok {
		return pair.(*devicekey.PrivateKey)
	}
	pair, err := devicekey.GenerateKey(kind)
	if err != nil {
		tb.Fatal(err)
	}
	generated.Store(kind, pair)
	return pair
}

// everyPair returns a key pair for each kind of key and algorithm we seal for.
func everyPair(tb testing.TB) map[string]*devicekey.PrivateKey {
	tb.Helper()
	pairs := make(map[string]*devicekey.PrivateKey)
	for _, kind := range kinds {
		pairs[kind] = pairOf(tb, kind)
	}
	for _, alg := range []string{"ECDH-ES", "ECDH-ES+A128KW"} {
		pair, err := devicekey.ParsePrivateKey(jwkWith(tb, pairOf(tb, "P-256").JWK(), "alg", alg))
		if err != nil {
			tb.Fatal(err)
		}
		pairs["P-256 "+alg] = pair
	}
	return pairs
}

func signingKey(tb testing.TB, kind string) *devicekey.SigningKey {
	tb.Helper()
	key, err := devicekey.GenerateSigningKey(kind)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// jwkWith returns a JWK with one member changed, or dropped if value is nil.
func jwkWith(tb testing.TB, jwk []byte, name string, value any) []byte {
	tb.Helper()
	m := jwkMembers(tb, jwk)
	m[name] = value
	if value == nil {
		delete(m, name)
	}
	return toJSON(tb, m)
}

func jwkMembers(tb testing.TB, jwk []byte) map[string]any {
	tb.Helper()
	var m map[string]any
	if err := json.Unmarshal(jwk, &m); err != nil {
		tb.Fatal(err)
	}
	return m
}

func toJSON(tb testing.TB, v any) []byte {
	tb.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// headerOf decodes the protected header of a compact JWE or JWS.
func headerOf(tb testing.TB, compact string) map[string]any {
	tb.Helper()
	part, _, _ := strings.Cut(compact, ".")
	data, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		tb.Fatal(err)
	}
	return jwkMembers(tb, data)
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// rfcVectors are the examples of RFC 7515, 7520 and 8037 in testdata/rfc.json.
type rfcVectors struct {
	Signed []struct {
		Source  string
		Key     json.RawMessage
		Compact string
		Payload string
	}
	Sealed []struct {
		Source  string
		Key     json.RawMessage
		Compact string
	}
}

func loadVectors(tb testing.TB) rfcVectors {
	tb.Helper()
	data, err := os.ReadFile("testdata/rfc.json")
	if err != nil {
		tb.Fatal(err)
	}
	var v rfcVectors
	if err := json.Unmarshal(data, &v); err != nil {
		tb.Fatal(err)
	}
	return v
}

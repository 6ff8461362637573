package encrypt_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
)

// wycheproofGroup is a key with vectors of Project Wycheproof, which is under
// the Apache licence 2.0: see testdata/wycheproof/LICENSE.
type wycheproofGroup struct {
	Comment         string
	Private, Public json.RawMessage
	Tests           []struct {
		ID       int `json:"tcId"`
		Comment  string
		PT       string
		JWE, JWS serialized
		Result   string
	}
}

// serialized is a compact serialization, or the text of a JSON one.
type serialized string

func (s *serialized) UnmarshalJSON(data []byte) error {
	if data[0] == '"' {
		return json.Unmarshal(data, (*string)(s))
	}
	*s = serialized(data)
	return nil
}

// loneKey returns the key of a set that holds no other: the vectors about
// single keys come in sets.
func loneKey(jwk json.RawMessage) json.RawMessage {
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(jwk, &set); err == nil && len(set.Keys) == 1 {
		return set.Keys[0]
	}
	return jwk
}

// wycheproof checks each vector of a file. The key that verifies is the shared
// one where the algorithm is symmetric.
func (v *verdicts) wycheproof(t *testing.T, file string) {
	t.Helper()
	data, err := os.ReadFile("testdata/wycheproof/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		NumberOfTests int
		TestGroups    []wycheproofGroup
	}
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range all.TestGroups {
		if g.Public == nil {
			g.Public = g.Private
		}
		g.Public, g.Private = loneKey(g.Public), loneKey(g.Private)
		for i := range g.Tests {
			if g.Tests[i].JWE != "" {
				v.jwe(t, g, i)
			} else {
				v.jws(t, g, i)
			}
			n++
		}
	}
	if n == 0 || n != all.NumberOfTests {
		t.Errorf("%s: %d vectors were read, want %d", file, n, all.NumberOfTests)
	}
}

// verdicts counts the valid vectors that we take, and those that we do not
// because their algorithms or keys are not on our lists.
type verdicts struct{ taken, declined int }

func (v *verdicts) jws(t *testing.T, g wycheproofGroup, i int) {
	t.Helper()
	test := g.Tests[i]
	key, err := encrypt.ParseSignatureKey(g.Public)
	if err == nil {
		_, err = key.Verify(string(test.JWS))
	}
	switch {
	case err == nil && test.Result == "valid":
		v.taken++
	case err == nil:
		t.Errorf("JWS %d (%s: %s) is verified", test.ID, g.Comment, test.Comment)
	case test.Result == "valid":
		v.declined++
		t.Logf("JWS %d (%s: %s): %v", test.ID, g.Comment, test.Comment, err)
	}
}

func (v *verdicts) jwe(t *testing.T, g wycheproofGroup, i int) {
	t.Helper()
	test := g.Tests[i]
	var opened []byte
	key, err := devicekey.ParsePrivateKey(g.Private)
	if err == nil {
		opened, err = key.Open(string(test.JWE))
	}
	switch {
	case err == nil && test.Result == "valid" && hex.EncodeToString(opened) == test.PT:
		v.taken++
	case err == nil:
		t.Errorf("JWE %d (%s: %s) opens to %q", test.ID, g.Comment, test.Comment, opened)
	case test.Result == "valid":
		v.declined++
		t.Logf("JWE %d (%s: %s): %v", test.ID, g.Comment, test.Comment, err)
	}
}

// The counts of valid vectors tell when an algorithm is lost, or a new one gets
// in. Declined are symmetric keys, key sets, empty payloads, and algorithms
// that are not on our lists.
func TestWycheproof(t *testing.T) {
	for _, tt := range []struct {
		file            string
		taken, declined int
	}{
		{"json_web_signature_test.json", 26, 20},
		{"json_web_encryption_test.json", 5, 60},
		{"json_web_key_test.json", 1, 4},
		{"json_web_crypto_test.json", 2, 4},
	} {
		t.Run(tt.file, func(t *testing.T) {
			var v verdicts
			v.wycheproof(t, tt.file)
			if v.taken != tt.taken || v.declined != tt.declined {
				t.Errorf("%d valid vectors taken and %d declined, want %d and %d", v.taken, v.declined, tt.taken, tt.declined)
			}
		})
	}
}

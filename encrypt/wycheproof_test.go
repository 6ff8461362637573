package encrypt_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
)

// TestWycheproof checks the signatures among the vectors of Project Wycheproof,
// which are under the Apache licence 2.0: see testdata/wycheproof/LICENSE. The
// counts of valid vectors tell when an algorithm is lost, or a new one gets in.
// Declined are symmetric keys, key sets, empty payloads, and algorithms that are
// not on our lists.
func TestWycheproof(t *testing.T) {
	for _, tt := range []struct {
		file                     string
		taken, declined, refused int
	}{
		{"json_web_signature_test.json", 26, 20, 355},
		{"json_web_key_test.json", 1, 4, 21},
		{"json_web_crypto_test.json", 2, 2, 45},
	} {
		t.Run(tt.file, func(t *testing.T) {
			data, err := os.ReadFile("testdata/wycheproof/" + tt.file)
			if err != nil {
				t.Fatal(err)
			}
			var all struct {
				TestGroups []struct {
					Comment         string
					Private, Public json.RawMessage
					Tests           []struct {
						ID              int `json:"tcId"`
						Comment, Result string
						JWE, JWS        serialized
					}
				}
			}
			if err := json.Unmarshal(data, &all); err != nil {
				t.Fatal(err)
			}
			taken, declined, refused := 0, 0, 0
			for _, g := range all.TestGroups {
				jwk := g.Public
				if jwk == nil { // the algorithm is symmetric
					jwk = g.Private
				}
				for _, test := range g.Tests {
					if test.JWE != "" { // which nothing here opens
						continue
					}
					key, err := encrypt.ParseSignatureKey(loneKey(jwk))
					if err == nil {
						_, err = key.Verify(string(test.JWS))
					}
					switch {
					case err == nil && test.Result == "valid":
						taken++
					case err == nil:
						t.Errorf("JWS %d (%s: %s) is verified", test.ID, g.Comment, test.Comment)
					case test.Result == "valid":
						declined++
						t.Logf("JWS %d (%s: %s): %v", test.ID, g.Comment, test.Comment, err)
					default:
						refused++
					}
				}
			}
			if taken != tt.taken || declined != tt.declined || refused != tt.refused {
				t.Errorf("%d valid vectors taken, %d declined, %d invalid ones refused; want %d, %d and %d",
					taken, declined, refused, tt.taken, tt.declined, tt.refused)
			}
		})
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

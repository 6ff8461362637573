package kv

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	strict "github.com/go-json-experiment/json"
)

// FuzzLists reads the lists of a device's targets as a store gives them, of this
// release and of the first one. What is read is written as the same list; an
// error quotes nothing; the list of another owner is not taken.
func FuzzLists(f *testing.F) {
	const secret = "Zx7Q-canary"
	for _, seed := range []string{
		`{"schema":2,"namespace":"bank","device_id":"d","username":"` + secret + `","targets":{"one":"X","two":""}}`,
		`{"schema":1,"device_id":"` + secret + `","targets":["one","one",""]}`, `{"schema":2,"device_id":"d","targets":{"` + secret + `":1}}`,
		`{"schema":3,"device_id":"d","` + secret + `":null}`, `{"schema":2,"targets":null}`, `{"schema":1,"targets":null}`, `{"schema":2,"targets":{"a":"","a":""}}`, ``,
	} {
		f.Add([]byte(seed))
	}
	other := owner{"bank", "another", "user"}
	f.Fuzz(func(t *testing.T, data []byte) {
		var named struct {
			Namespace string `json:"namespace"`
			DeviceID  string `json:"device_id"`
			Username  string `json:"username"`
		}
		_ = json.Unmarshal(data, &named) // else a hash would keep all other inputs out
		o := owner{named.Namespace, named.DeviceID, named.Username}
		l, err := decodeList(data, o)
		_, formerErr := DecodeFormer(data, o.formerName())
		for _, err := range []error{err, formerErr} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the error quotes the record: %v", err)
			}
		}
		if err == nil && formerErr == nil {
			t.Error("it is a list of both releases")
		}
		if _, err := DecodeFormer(data, other.formerName()); err == nil && o.formerName() != other.formerName() {
			t.Error("the former list of another device is taken")
		}
		if err != nil {
			return
		}
		if _, err := decodeList(data, other); err == nil && o != other {
			t.Error("the list of another owner is taken")
		}
		text, err := strict.Marshal(l, strict.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeList(text, o); err != nil && len(text) <= maxList || err == nil && !maps.Equal(again.Targets, l.Targets) {
			t.Errorf("%v becomes %v, %v", l, again, err)
		}
	})
}

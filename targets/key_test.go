package targets_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// badKeys are refused, each for its reason.
var badKeys = map[string]string{
	"rsa_size":        `{"kty":"RSA","n":"AQAB","e":"AQAB"}`,
	"private_members": `{"kty":"oct","k":"c2VjcmV0"}`,
	"malformed":       `"garbage"`,
}

// A refusal tells which member of the JWK is at fault.
func TestRefusalNamesTheMember(t *testing.T) {
	for jwk, want := range map[string][2]string{
		badKeys["rsa_size"]:                          {"rsa_size", `"n"`},
		badKeys["private_members"]:                   {"private_members", `"k"`},
		`{"kty":"EC","crv":"P-224","x":"a","y":"a"}`: {"curve", `"crv"`},
	} {
		f := newFixture()
		if err := f.create(t, nevisfido.TargetDescription{EncryptionKey: []byte(jwk), SignatureKey: []byte(badKeys["private_members"])}); err != nil {
			t.Fatal(err)
		}
		if e := f.events[0]; e.Name != targets.EventKeyRefused || e.Reason != want[0] || !strings.Contains(e.Detail, want[1]) {
			t.Errorf("%s: event %+v", jwk, e)
		}
		if e := f.events[1]; e.Name != targets.EventSignatureKeyRefused || !strings.Contains(e.Detail, `"k"`) || strings.Contains(e.Detail, "c2VjcmV0") {
			t.Errorf("%s: event %+v", jwk, e)
		}
	}
}

// A target whose key was refused does not pass for one that never had any, by
// whichever way the key came.
func TestRefusedKeyIsRemembered(t *testing.T) {
	ways := map[string]func(*testing.T, *fixture, string){
		"created": func(t *testing.T, f *fixture, jwk string) {
			f.learn(t, func(desc *nevisfido.TargetDescription) { desc.EncryptionKey = []byte(jwk) })
		},
		"modified": func(t *testing.T, f *fixture, jwk string) {
			f.learn(t, nil)
			f.modify(t, f.jws(map[string]any{"encryptionKey": json.RawMessage(jwk)}), 204)
		},
		"unknown before": func(t *testing.T, f *fixture, jwk string) {
			f.modify(t, f.jws(map[string]any{"encryptionKey": json.RawMessage(jwk)}), 204)
		},
		"from a source": func(_ *testing.T, f *fixture, jwk string) {
			s := found(1)
			s.target.EncryptionKey = []byte(jwk)
			f.Sources = named(s)
		},
	}
	for name, way := range ways {
		for reason, jwk := range badKeys {
			t.Run(name+"/"+reason, func(t *testing.T) {
				f := newFixture()
				way(t, f, jwk)
				record := f.find(t)
				if record.EncryptionKey != nil || record.KeyRefused != reason || record.Keyless() {
					t.Errorf("learned %+v", record)
				}
				if _, err := f.Key(record); !errors.Is(err, targets.ErrNoKey) || !strings.Contains(err.Error(), reason) {
					t.Errorf("Key gave %v", err)
				}
				if strings.Contains(string(f.store.Dump()), jwk) {
					t.Error("the refused key is in the store")
				}

				// Anything but a key changes nothing about that.
				f.modify(t, f.jws(map[string]any{"name": "renamed"}), 204)
				if f.find(t).Keyless() {
					t.Error("the refusal is forgotten")
				}
				f.modify(t, f.jws(map[string]any{"encryptionKey": json.RawMessage(publicJWK(2))}), 204)
				if record := f.find(t); record.KeyRefused != "" || record.Thumbprint != thumbprint(2) {
					t.Errorf("with a good key it is %+v", record)
				}
			})
		}
	}
}

func TestRegisteringAgainForgetsARefusal(t *testing.T) {
	f := newFixture()
	for jwk, keyless := range map[string]bool{"": true, string(publicJWK(1)): false} {
		f.learn(t, func(desc *nevisfido.TargetDescription) { desc.EncryptionKey = []byte(badKeys["malformed"]) })
		f.learn(t, func(desc *nevisfido.TargetDescription) { desc.EncryptionKey = []byte(jwk) })
		if record := f.find(t); record.KeyRefused != "" || record.Keyless() != keyless {
			t.Errorf("the record is %+v", record)
		}
	}
}

func TestKeyRefusedByAStricterPolicy(t *testing.T) {
	f := newFixture()
	f.Policy = encrypt.Policy{MinRSABits: 3072}
	key := must(devicekey.GenerateKey("RSA-2048")).Public()
	f.learn(t, func(desc *nevisfido.TargetDescription) { desc.EncryptionKey = key.JWK() })
	if record := f.find(t); record.KeyRefused != string(encrypt.ReasonRSASize) || record.Keyless() {
		t.Errorf("learned %+v", record)
	}
}

// Records of earlier releases have no word of refusals; a source's may have one.
func TestRefusalInARecord(t *testing.T) {
	ref := targets.Ref{ID: "one"}
	old, err := targets.Decode([]byte(`{"schema":1,"id":"one","source":"create","created":"2026-11-23T12:00:00Z","updated":"2026-11-23T12:00:00Z","state":"active"}`), ref.Hash())
	if err != nil || old.KeyRefused != "" || !old.Keyless() {
		t.Errorf("got %+v, %v", old, err)
	}
	both := &targets.Target{ID: "one", EncryptionKey: publicJWK(0), Thumbprint: thumbprint(0), KeyRefused: "rsa_size"}
	if _, err := targets.Encode(both, ref); err == nil {
		t.Error("a key that is kept and refused was accepted")
	}
	s := found(1)
	s.target.EncryptionKey, s.target.KeyRefused = nil, "rsa_size"
	f := newFixture(named(s)...)
	if record := f.find(t); record.Keyless() {
		t.Errorf("found %+v", record)
	}
}

// Of keys that cannot be told apart nothing is certain, and the next change
// that can be read settles the target.
func TestModificationWithUnclearKeys(t *testing.T) {
	f := learned(t)
	jwk := unspoken(publicJWK(1))
	f.modify(t, f.jws(map[string]any{"name": "renamed", "publicKey": jwk}), 204)
	f.mustHaveSent(t, "stale unclear_keys")
	if got := f.mustState(t, targets.Stale); got.Name == "renamed" || got.Thumbprint != thumbprint(0) {
		t.Errorf("applied: %+v", got)
	}
	f.learn(t, nil)
	f.modify(t, f.jws(map[string]any{"publicKey": jwk}), 401)
	f.mustState(t, targets.Active)
	f.modify(t, f.jws(map[string]any{"publicKey": base64.StdEncoding.EncodeToString(publicJWK(1))}), 204)
	f.mustHaveKey(t, targets.Active, 1)
}

// unspoken is a JWK that does not say what it is for.
func unspoken(jwk []byte) json.RawMessage {
	members := make(map[string]any)
	must(0, json.Unmarshal(jwk, &members))
	delete(members, "use")
	delete(members, "alg")
	return must(json.Marshal(members))
}

func TestUnidentified(t *testing.T) {
	f := newFixture()
	f.Unidentified(t.Context(), targets.SourceRegistration, targets.WhyNoID)
	want := targets.Event{Name: targets.EventUnidentified, Ref: targets.Ref{Namespace: "bank"}, Source: "registration", Reason: "no_id"}
	if len(f.events) != 1 || f.events[0] != want {
		t.Errorf("events %+v", f.events)
	}
}

func TestKeyAge(t *testing.T) {
	f := learned(t)
	f.MaxKeyAge = 30 * 24 * time.Hour
	key := func() error {
		t.Helper()
		record, err := f.Find(t.Context(), "one")
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Key(record)
		return err
	}
	if err := key(); err != nil {
		t.Errorf("a new key: %v", err)
	}
	f.now = f.now.Add(31 * 24 * time.Hour)
	if err := key(); err == nil || !strings.Contains(err.Error(), "max_key_age") {
		t.Errorf("an old key: %v", err)
	}
	f.modify(t, f.jws(newKey(0)), 204) // it brings the same key
	if err := key(); err == nil {
		t.Error("a modification with the same key made it younger")
	}
	f.learn(t, nil) // the same key in a new registration
	if err := key(); err != nil {
		t.Errorf("a key that was registered again: %v", err)
	}
	f.now = f.now.Add(31 * 24 * time.Hour)
	f.learn(t, func(d *nevisfido.TargetDescription) { d.EncryptionKey = publicJWK(1) })
	if err := key(); err != nil {
		t.Errorf("another key: %v", err)
	}
}

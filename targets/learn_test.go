package targets_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

func TestLearn(t *testing.T) {
	for _, asText := range []bool{false, true} {
		f := newFixture()
		jwk := publicJWK(0)
		if asText {
			jwk = []byte(strconv.Quote(string(jwk)))
		}
		desc := &nevisfido.TargetDescription{
			Username: "jeff", DeviceID: "device-1", Name: "phone", Target: "address-1", Dispatcher: "fcm",
			EncryptionKey: jwk, SignatureKey: signingKeys[0].JWK(),
		}
		created := nevisfido.CreatedTarget{ID: "one", ExtID: "ext-1"}
		if err := f.Learn(t.Context(), desc, created, targets.SourceRegistration); err != nil {
			t.Fatal(err)
		}
		f.mustHaveSent(t, "learned")
		got := f.find(t)
		key, err := f.Key(got)
		if err != nil || key.Thumbprint() != thumbprint(0) {
			t.Errorf("key %v, error %v", key, err)
		}
		if got.Username != "jeff" || got.DeviceID != "device-1" || got.Name != "phone" || got.Address != "address-1" ||
			got.Dispatcher != "fcm" || got.ExtID != "ext-1" || got.Source != targets.SourceRegistration ||
			got.State() != targets.Active || !got.Created.Equal(noon) || got.SignatureKey == nil || got.Namespace != "bank" {
			t.Errorf("learned %+v", got)
		}
	}
}

func TestPrivateJWKNeverStored(t *testing.T) {
	rsa := must(devicekey.GenerateKey("RSA-2048")).JWK()
	for name, jwk := range map[string][]byte{
		"RSA":       rsa,
		"EC":        encryptionKeys[0].JWK(),
		"text":      []byte(strconv.Quote(string(rsa))),
		"symmetric": []byte(`{"kty":"oct","k":"c2VjcmV0"}`),
	} {
		f := newFixture()
		f.learn(t, func(desc *nevisfido.TargetDescription) { desc.EncryptionKey, desc.SignatureKey = jwk, jwk })
		record := f.find(t)
		if record.EncryptionKey != nil || record.SignatureKey != nil || record.Address != "address-1" {
			t.Errorf("%s: learned %+v", name, record)
		}
		if _, err := f.Key(record); !errors.Is(err, targets.ErrNoKey) {
			t.Errorf("%s: Key gave error %v, want ErrNoKey", name, err)
		}
		f.modify(t, f.jws(map[string]any{"encryptionKey": json.RawMessage(jwk), "signatureKey": json.RawMessage(jwk)}), 204)
		mustHoldNothingPrivate(t, f)
		f.mustHaveSent(t, "key_refused private_members", "signature_key_refused private_members", "modified")
	}
}

func TestKeyChangeAudited(t *testing.T) {
	f := learned(t)
	f.modify(t, f.jws(map[string]any{"name": "renamed"}), 204)
	f.expire(t)
	f.events = nil
	desc := &nevisfido.TargetDescription{EncryptionKey: publicJWK(1)}
	if err := f.Learn(t.Context(), desc, nevisfido.CreatedTarget{ID: "one"}, targets.SourceRegistration); err != nil {
		t.Fatal(err)
	}
	if f.events[1].Thumbprint != thumbprint(1) || f.events[1].Source != targets.SourceRegistration {
		t.Errorf("the change of key is reported as %+v", f.events[1])
	}
	f.mustHaveSent(t, "learned", "key_changed")
	got := f.mustState(t, targets.Active)
	if got.Thumbprint != thumbprint(1) || got.SignatureKey != nil || got.Name != "" || got.Address != "" || got.Modified != 0 || got.GoneAddress != "" {
		t.Errorf("something of the old target is left: %+v", got)
	}
	if strings.Contains(string(f.store.Dump()), thumbprint(0)) {
		t.Error("the old key is left in the store")
	}
}

func TestLearnReplayIsNoKeyChange(t *testing.T) {
	f := learned(t)
	for range 2 {
		if err := f.create(t, nevisfido.TargetDescription{EncryptionKey: publicJWK(0)}); err != nil {
			t.Fatal(err)
		}
		f.mustHaveSent(t, "learned")
		// Nor is the first key of a target that had none.
		f.learn(t, func(desc *nevisfido.TargetDescription) { desc.EncryptionKey = nil })
	}
}

// The caller hangs up once nevisFIDO has created the target: it is learned.
func TestLearnOutlivesTheRequest(t *testing.T) {
	f := newFixture()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	desc := &nevisfido.TargetDescription{EncryptionKey: publicJWK(0)}
	if err := f.Learn(ctx, desc, nevisfido.CreatedTarget{ID: "one"}, targets.SourceCreate); err != nil {
		t.Fatal(err)
	}
	f.mustState(t, targets.Active)
}

func TestLearnTooLarge(t *testing.T) {
	f := learned(t)
	if err := f.create(t, nevisfido.TargetDescription{Name: strings.Repeat("x", targets.MaxRecord), EncryptionKey: publicJWK(1)}); err == nil {
		t.Error("no error")
	}
	f.mustBeUnknown(t) // the old key is not nevisFIDO's any more
	f.mustHaveSent(t, "dropped too_large")
}

func TestDrop(t *testing.T) {
	f := learned(t)
	if err := f.Drop(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	f.mustHaveSent(t, "dropped unknown")
	f.mustBeUnknown(t)
	if err := f.Drop(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	f.mustHaveSent(t)
}

// What nevisFIDO accepted and we could not read must not come back in its old
// form from an exported file.
func TestDropOutlastsOldSources(t *testing.T) {
	s := found(1)
	f := learned(t, named(s)...)
	if err := f.Invalidate(t.Context(), "one", targets.SourceRegistration); err != nil {
		t.Fatal(err)
	}
	if got := f.mustState(t, targets.Stale); got.EncryptionKey != nil || got.Address != "" {
		t.Errorf("left over: %+v", got)
	}
	s.live = true
	f.mustState(t, targets.Active)
}

func TestExpire(t *testing.T) {
	f := learned(t)
	f.expire(t)
	f.mustHaveSent(t, "expired")
	record := f.mustState(t, targets.Expired)
	if err := f.Expire(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	f.mustHaveSent(t)
	f.modify(t, f.jws(map[string]any{"target": "address-2"}), 204)
	f.mustState(t, targets.Active)
	f.events = nil

	// The old address is reported as gone once more, late.
	if err := f.Expire(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	f.mustState(t, targets.Active)
	f.mustHaveSent(t)
	if err := f.Expire(t.Context(), &targets.Target{Namespace: "bank", ID: "nobody"}); err != nil {
		t.Error(err)
	}
}

func TestExpireDuringChange(t *testing.T) {
	for status, want := range map[int]targets.State{401: targets.Expired, 204: targets.Expired, 500: targets.Stale} {
		f := learned(t)
		p := must(f.BeginModify(t.Context(), "one", f.jws(map[string]any{"name": "x"})))
		f.expire(t)
		f.mustState(t, targets.Stale)
		finish(t, p, status)
		f.mustState(t, want)
	}
}

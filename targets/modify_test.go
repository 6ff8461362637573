package targets_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func TestModifyAppliesEveryMember(t *testing.T) {
	f := learned(t)
	f.now = f.now.Add(time.Minute)
	f.modify(t, f.jws(everything(1, 1)), 204)
	f.mustHaveSent(t, "key_changed", "modified")
	got := f.mustState(t, targets.Active)
	if got.Name != "new name" || got.Address != "address-2" || got.Dispatcher != "link" || got.Thumbprint != thumbprint(1) ||
		got.Modified != f.now.UnixMilli() || !got.Updated.Equal(f.now) || !got.Created.Equal(noon) || got.Username != "jeff" {
		t.Errorf("modified to %+v", got)
	}
	if key, err := f.Key(got); err != nil || key.Thumbprint() != thumbprint(1) {
		t.Errorf("key %v, error %v", key, err)
	}
	// From now on the other signature key counts.
	jws := must(signingKeys[1].Sign(f.payload(map[string]any{"name": "by key 1"})))
	f.modify(t, []byte(jws), 204)
	if got := f.mustState(t, targets.Active); got.Name != "by key 1" {
		t.Errorf("modified to %+v", got)
	}
}

func TestModifyKeyRefusedByPolicy(t *testing.T) {
	f := learned(t)
	f.modify(t, f.jws(map[string]any{"encryptionKey": map[string]string{"kty": "RSA", "n": "AQAB", "e": "Aw"}}), 204)
	got := f.mustState(t, targets.Active)
	if _, err := f.Key(got); !errors.Is(err, targets.ErrNoKey) {
		t.Errorf("nevisFIDO holds another key; ours gave %v, want ErrNoKey", err)
	}
	if len(f.events) != 3 || f.events[0].Name != targets.EventKeyRefused || f.events[1].Name != targets.EventKeyChanged {
		t.Errorf("events %+v", f.events)
	}
}

func forged(f *fixture, members map[string]any) []byte {
	return []byte(must(signingKeys[1].Sign(f.payload(members))))
}

// Anybody can send a PATCH and may be able to provoke a 500.
func TestForgeryDisablesNothing(t *testing.T) {
	for name, jws := range map[string]func(*fixture) []byte{
		"another signature": func(f *fixture) []byte { return forged(f, newKey(1)) },
		"no signature":      func(f *fixture) []byte { return unsignedJWS(f.payload(newKey(1))) },
		"not a JWS":         func(*fixture) []byte { return []byte("{}") },
		"empty":             func(*fixture) []byte { return []byte{} },
	} {
		for _, status := range []int{0, 400, 401, 500, 503} {
			f := learned(t)
			before := f.store.Dump()
			p := must(f.BeginModify(t.Context(), "one", jws(f)))
			f.mustState(t, targets.Active)
			finish(t, p, status)
			if !bytes.Equal(before, f.store.Dump()) {
				t.Errorf("%s, status %d: the record is %+v", name, status, f.find(t))
			}
		}
	}
}

func unsignedJWS(payload []byte) []byte {
	enc := base64.RawURLEncoding
	return []byte(enc.EncodeToString([]byte(`{"alg":"none"}`)) + "." + enc.EncodeToString(payload) + ".")
}

func TestOlderPatchIgnored(t *testing.T) {
	f := learned(t)
	older := f.jws(newKey(1))
	f.now = f.now.Add(time.Minute)
	f.modify(t, f.jws(newKey(2)), 204)
	f.events = nil
	f.modify(t, older, 204)
	f.mustHaveSent(t, "stale older")
	// nevisFIDO holds key 1 or key 2: not for us to say.
	f.mustHaveKey(t, targets.Stale, 2)
	// Refused, as it should be, it does nothing.
	f.modify(t, f.jws(newKey(2)), 204)
	f.modify(t, older, 401)
	f.mustState(t, targets.Active)
	// One without a time, in between, does not make it any newer.
	f.modify(t, f.jws(map[string]any{"name": "x", "creationTimeInEpochMillis": nil}), 204)
	f.modify(t, older, 204)
	f.mustHaveKey(t, targets.Stale, 2)
}

func TestReplayIdempotent(t *testing.T) {
	f := learned(t)
	jws := f.jws(newKey(1))
	f.modify(t, jws, 204)
	once := f.store.Dump()
	f.modify(t, jws, 204)
	if !bytes.Equal(once, f.store.Dump()) {
		t.Errorf("the same JWS again changed the record to %+v", f.find(t))
	}
}

func TestUnreadableButAcceptedIsDropped(t *testing.T) {
	for name, jws := range map[string][]byte{
		"not a JWS":     []byte("hello"),
		"too long":      nil,
		"not JSON":      []byte(must(signingKeys[0].Sign([]byte("hello")))),
		"duplicate":     []byte(must(signingKeys[0].Sign([]byte(`{"target":"a","target":"b"}`)))),
		"letter case":   []byte(must(signingKeys[0].Sign([]byte(`{"EncryptionKey":{}}`)))),
		"wrong type":    []byte(must(signingKeys[0].Sign([]byte(`{"name":1}`)))),
		"detached":      []byte("e30..AA"),
		"JWE":           []byte("e30.e30.e30.e30.e30"),
		"1 MiB of dots": bytes.Repeat([]byte("."), 1<<20),
	} {
		for _, change := range []func(*nevisfido.TargetDescription){nil, unsigned} {
			f := newFixture()
			f.learn(t, change)
			p := must(f.BeginModify(t.Context(), "one", jws))
			if _, ok := p.OnlyDispatcher(); ok {
				t.Errorf("%s: changes the dispatcher only", name)
			}
			finish(t, p, 204)
			f.mustBeUnknown(t)
			f.mustHaveSent(t, "dropped unreadable")
		}
	}
}

func TestUnknownTarget(t *testing.T) {
	for _, status := range []int{0, 204, 404, 500} {
		for name, members := range map[string]map[string]any{"no key": {"name": "x"}, "key": newKey(1)} {
			if status == 204 && name == "key" {
				continue
			}
			f := newFixture()
			f.modify(t, f.jws(members), status)
			f.mustBeUnknown(t)
			if dump := f.store.Dump(); len(dump) > 0 {
				t.Errorf("%s, status %d: %s is stored of a target that is not known", name, status, dump)
			}
		}
	}
	f := newFixture()
	f.modify(t, f.jws(newKey(1)), 204)
	got := f.mustState(t, targets.Active)
	if got.Thumbprint != thumbprint(1) || got.Source != targets.SourceModify || !got.Created.Equal(noon) {
		t.Errorf("learned %+v", got)
	}
}

// Two changes of a target that the store does not know overlap: whichever members
// they bring, what the first to be recorded brought is not sure before the other
// one has ended.
func TestChangesOfAnUnknownTargetOverlap(t *testing.T) {
	for _, first := range []map[string]any{{"target": "address-1"}, newKey(1)} {
		f := newFixture()
		other := f.another()
		address := must(f.BeginModify(t.Context(), "one", f.jws(first)))
		both := must(other.BeginModify(t.Context(), "one", f.jws(map[string]any{
			"target": "address-2", "encryptionKey": string(publicJWK(2)),
		})))
		finish(t, both, 204)
		other.mustState(t, targets.Stale)
		finish(t, address, 204)
		other.mustState(t, targets.Stale)
	}
	f := newFixture()
	f.modify(t, f.jws(map[string]any{"target": "address-1"}), 204) // alone, it brings nothing to seal with
	f.modify(t, []byte("unreadable"), 204)
	f.mustBeUnknown(t)
	f.mustHaveSent(t)
}

// A key source that may hold the old key must not bring it in later.
func TestUnknownTargetWithOldSource(t *testing.T) {
	for _, test := range []struct {
		members map[string]any
		status  int
		want    targets.State
		key     int
	}{
		{newKey(2), 204, targets.Active, 2},
		{newKey(2), 401, targets.Active, 1}, // the source is right
		{newKey(2), 500, targets.Stale, -1},
		{map[string]any{"name": "x"}, 204, targets.Stale, -1},
	} {
		f := newFixture(named(found(1))...)
		p := must(f.BeginModify(t.Context(), "one", f.jws(test.members)))
		f.mustState(t, targets.Stale)
		finish(t, p, test.status)
		got := f.mustState(t, test.want)
		if test.key >= 0 && got.Thumbprint != thumbprint(test.key) || test.key < 0 && got.Thumbprint != "" {
			t.Errorf("%v with status %d: found %+v", test.members, test.status, got)
		}
	}
}

func TestOnlyDispatcher(t *testing.T) {
	ours := map[string]any{"dispatcher": "letter"}
	for _, test := range []struct {
		name   string
		jws    func(*fixture) []byte
		change func(*nevisfido.TargetDescription)
		want   bool
	}{
		{"verified", func(f *fixture) []byte { return f.jws(ours) }, nil, true},
		{"no signature key", func(f *fixture) []byte { return f.jws(ours) }, unsigned, false},
		{"forged", func(f *fixture) []byte { return forged(f, ours) }, nil, false},
		{"more than the dispatcher", func(f *fixture) []byte { return f.jws(map[string]any{"dispatcher": "letter", "name": "x"}) }, nil, false},
		{"no dispatcher", func(f *fixture) []byte { return f.jws(nil) }, nil, false},
		{"another target", func(f *fixture) []byte {
			return f.jws(map[string]any{"dispatcher": "letter", "dispatchTargetId": "two"})
		}, nil, false},
		{"any target", func(f *fixture) []byte {
			return f.jws(map[string]any{"dispatcher": "letter", "dispatchTargetId": nil})
		}, nil, false},
		{"no time", func(f *fixture) []byte {
			return f.jws(map[string]any{"dispatcher": "letter", "creationTimeInEpochMillis": nil})
		}, nil, false},
		{"too old", func(f *fixture) []byte {
			return f.jws(map[string]any{"dispatcher": "letter", "creationTimeInEpochMillis": noon.UnixMilli() - 300_001})
		}, nil, false},
		{"from the future", func(f *fixture) []byte {
			return f.jws(map[string]any{"dispatcher": "letter", "creationTimeInEpochMillis": noon.UnixMilli() + 300_001})
		}, nil, false},
		{"before the last modification", func(f *fixture) []byte {
			jws := f.jws(ours)
			f.now = f.now.Add(time.Second)
			f.modify(t, f.jws(map[string]any{"name": "x"}), 204)
			f.events = nil
			return jws
		}, nil, false},
	} {
		f := newFixture()
		f.learn(t, test.change)
		jws := test.jws(f)
		before := f.find(t)
		p := must(f.BeginModify(t.Context(), "one", jws))
		name, ok := p.OnlyDispatcher()
		if ok != test.want || ok && name != "letter" {
			t.Errorf("%s: OnlyDispatcher gave %q, %t", test.name, name, ok)
		}
		if err := p.ApplyDispatcher(t.Context()); (err == nil) != test.want {
			t.Errorf("%s: ApplyDispatcher gave error %v", test.name, err)
		}
		finish(t, p, 422)
		want := before.Dispatcher
		if test.want {
			want = "letter"
		}
		got := f.mustState(t, targets.Active)
		if got.Dispatcher != want || got.Thumbprint != before.Thumbprint || got.Name != before.Name {
			t.Errorf("%s: the record is %+v", test.name, got)
		}
	}
}

// The replay of an earlier choice does not undo a later one.
func TestDispatcherReplay(t *testing.T) {
	f := learned(t)
	choose := func(jws []byte) error {
		p := must(f.BeginModify(t.Context(), "one", jws))
		defer func() { _ = p.Finish(t.Context(), 422) }()
		return p.ApplyDispatcher(t.Context())
	}
	letter := f.jws(map[string]any{"dispatcher": "letter"})
	f.now = f.now.Add(time.Second)
	mail := f.jws(map[string]any{"dispatcher": "mail"})
	for _, step := range []struct {
		jws    []byte
		refuse bool
		want   string
	}{{letter, false, "letter"}, {letter, false, "letter"}, {mail, false, "mail"}, {letter, true, "mail"}} {
		if err := choose(step.jws); (err != nil) != step.refuse {
			t.Errorf("choosing gave error %v", err)
		}
		if got := f.mustState(t, targets.Active); got.Dispatcher != step.want {
			t.Errorf("the dispatcher is %q, want %q", got.Dispatcher, step.want)
		}
	}
}

func TestApplyDispatcherKeepsQuarantineAndUnsure(t *testing.T) {
	f := learned(t)
	f.expire(t)
	for _, want := range []targets.State{targets.Expired, targets.Stale} {
		p := must(f.BeginModify(t.Context(), "one", f.jws(map[string]any{"dispatcher": "letter"})))
		if err := p.ApplyDispatcher(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.mustState(t, want)
		f.modify(t, f.jws(newKey(1)), 500)
	}
}

// Nobody knows which of the two nevisFIDO has seen first.
func TestApplyDispatcherDuringAnotherChange(t *testing.T) {
	f := learned(t)
	p := must(f.BeginModify(t.Context(), "one", f.jws(map[string]any{"dispatcher": "letter"})))
	other := must(f.another().BeginModify(t.Context(), "one", f.jws(map[string]any{"dispatcher": "mail"})))
	if err := p.ApplyDispatcher(t.Context()); !errors.Is(err, targets.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	finish(t, p, 422)
	finish(t, other, 422)
	if got := f.mustState(t, targets.Active); got.Dispatcher != "fcm" {
		t.Errorf("the record is %+v", got)
	}
}

func TestApplyDispatcherWithStoreDown(t *testing.T) {
	f := learned(t)
	p := must(f.BeginModify(t.Context(), "one", f.jws(map[string]any{"dispatcher": "letter"})))
	withFault(f, kvtest.Write, errors.New("no space left"))
	if err := p.ApplyDispatcher(t.Context()); !errors.Is(err, targets.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	f.store.SetFault(nil)
	finish(t, p, 422)
	if got := f.mustState(t, targets.Active); got.Dispatcher != "fcm" {
		t.Errorf("the record is %+v", got)
	}
}

// Not everything that nevisFIDO accepts is applied.
func TestObjections(t *testing.T) {
	jws := func(members map[string]any) func(*fixture) []byte {
		all := newKey(1)
		maps.Copy(all, members)
		return func(f *fixture) []byte { return f.jws(all) }
	}
	aged := func(age time.Duration) func(*fixture) []byte {
		return func(f *fixture) []byte {
			return f.jws(map[string]any{"creationTimeInEpochMillis": f.now.Add(age).UnixMilli(), "encryptionKey": json.RawMessage(publicJWK(1))})
		}
	}
	for name, test := range map[string]struct {
		jws    func(*fixture) []byte
		signed bool   // the signature key is known
		why    string // "" where it is applied
	}{
		"another signature":         {func(f *fixture) []byte { return forged(f, newKey(1)) }, true, "signature"},
		"another target":            {jws(map[string]any{"dispatchTargetId": "two"}), true, "target_id"},
		"another target, no key":    {jws(map[string]any{"dispatchTargetId": "two"}), false, "target_id"},
		"neither target nor time":   {jws(map[string]any{"dispatchTargetId": nil, "creationTimeInEpochMillis": nil}), true, ""},
		"just fresh":                {aged(-5 * time.Minute), true, ""},
		"just not in the future":    {aged(5 * time.Minute), true, ""},
		"too old":                   {aged(-5*time.Minute - time.Millisecond), true, "not_fresh"},
		"from the future":           {aged(5*time.Minute + time.Millisecond), true, "not_fresh"},
		"old, by nevisFIDO's clock": {aged(-time.Hour), false, ""},
	} {
		f := newFixture()
		f.learn(t, map[bool]func(*nevisfido.TargetDescription){false: unsigned}[test.signed])
		f.modify(t, test.jws(f), 204)
		want := targets.Active
		if test.why != "" {
			want = targets.Stale
			f.mustHaveSent(t, "stale "+test.why)
		}
		if got := f.mustState(t, want); (got.Thumbprint == thumbprint(1)) != (test.why == "") {
			t.Errorf("%s: the record is %+v", name, got)
		}
	}
}

// A signature key that may be outdated is no reason to take others for forgeries.
func TestUnsureSignatureKey(t *testing.T) {
	f := learned(t)
	f.modify(t, forged(f, newKey(1)), 204)
	f.modify(t, forged(f, everything(2, 1)), 204)
	f.mustHaveKey(t, targets.Active, 2)
}

package targets_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func newKey(key int) map[string]any {
	return map[string]any{"encryptionKey": json.RawMessage(publicJWK(key))}
}

// What nevisFIDO answers decides: accepted, refused, or nobody knows.
func TestPatchCommitOnlyOn204(t *testing.T) {
	statuses := map[int]string{
		0: "stale", 101: "stale", 103: "stale", 301: "stale", 302: "stale", 304: "stale",
		200: "new", 201: "new", 202: "new", 204: "new",
		400: "old", 401: "old", 403: "old", 404: "old", 405: "old", 415: "old", 422: "old", 429: "old",
		500: "stale", 502: "stale", 503: "stale", 504: "stale", 999: "stale",
	}
	for status, want := range statuses {
		for _, signed := range []bool{true, false} { // without signature key nevisFIDO's word alone counts
			f := newFixture()
			f.learn(t, nil)
			if !signed {
				f.learn(t, unsigned)
			}
			before := f.store.Dump()
			p, err := f.BeginModify(t.Context(), "one", f.jws(newKey(1)))
			if err != nil {
				t.Fatal(err)
			}
			f.mustState(t, targets.Stale) // before nevisFIDO sees it
			f.now = f.now.Add(time.Second)
			if err := p.Finish(t.Context(), status); err != nil {
				t.Fatal(err)
			}
			got := "stale"
			switch record := f.find(t); {
			case record.State() == targets.Stale:
			case record.Thumbprint == thumbprint(1):
				got = "new"
			case bytes.Equal(before, f.store.Dump()):
				got = "old"
			default:
				got = "spoilt"
			}
			if got != want {
				t.Errorf("status %d, signature key known %t: the record is %s, want %s", status, signed, got, want)
			}
		}
	}
}

func TestModifyAppliesEveryMember(t *testing.T) {
	f := newFixture()
	f.learn(t, nil)
	f.now = f.now.Add(time.Minute)
	f.modify(t, f.jws(map[string]any{
		"name": "new name", "target": "address-2", "dispatcher": "link",
		"encryptionKey": json.RawMessage(publicJWK(1)), "signatureKey": json.RawMessage(signingKeys[1].JWK()),
	}), 204)
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
	f := newFixture()
	f.learn(t, nil)
	f.modify(t, f.jws(map[string]any{"encryptionKey": map[string]string{"kty": "RSA", "n": "AQAB", "e": "Aw"}}), 204)
	got := f.mustState(t, targets.Active)
	if _, err := f.Key(got); !errors.Is(err, targets.ErrNoKey) {
		t.Errorf("nevisFIDO holds another key; ours gave %v, want ErrNoKey", err)
	}
	if len(f.events) != 3 || f.events[0].Name != targets.EventKeyRefused || f.events[1].Name != targets.EventKeyChanged {
		t.Errorf("events %+v", f.events)
	}
}

func TestStateRestoredAfterRefusal(t *testing.T) {
	f := newFixture()
	f.learn(t, nil)
	if err := f.Expire(t.Context(), f.find(t)); err != nil {
		t.Fatal(err)
	}
	before := f.store.Dump()
	p, err := f.BeginModify(t.Context(), "one", f.jws(map[string]any{"target": "address-2"}))
	if err != nil {
		t.Fatal(err)
	}
	f.mustState(t, targets.Stale)
	if err := p.Finish(t.Context(), 401); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, f.store.Dump()) {
		t.Errorf("the quarantined record is not as it was: %+v", f.find(t))
	}
}

// A device that gets a 5xx tries again.
func TestRetryEndsUncertainty(t *testing.T) {
	for _, again := range []struct {
		members map[string]any
		want    targets.State
	}{
		{newKey(2), targets.Active},
		{map[string]any{"name": "x"}, targets.Stale}, // nevisFIDO may hold key 1 or 0
		{map[string]any{"target": "address-2", "encryptionKey": json.RawMessage(publicJWK(2))}, targets.Active},
	} {
		f := newFixture()
		f.learn(t, nil)
		f.modify(t, f.jws(newKey(1)), 500)
		f.mustHaveSent(t, "stale unanswered")
		f.modify(t, f.jws(again.members), 401)
		f.mustState(t, targets.Stale)
		f.modify(t, f.jws(again.members), 204)
		f.mustState(t, again.want)
	}
}

func TestCrashLeavesStale(t *testing.T) {
	f := newFixture()
	f.learn(t, nil)
	if _, err := f.BeginModify(t.Context(), "one", f.jws(newKey(1))); err != nil {
		t.Fatal(err)
	}
	f = f.another() // The first process dies here. Others cannot know for a while.
	f.mustState(t, targets.Stale)
	f.modify(t, f.jws(map[string]any{"name": "x"}), 204)
	f.mustState(t, targets.Stale)
	f.now = f.now.Add(time.Hour)
	f.modify(t, f.jws(map[string]any{"name": "x"}), 204)
	f.mustState(t, targets.Stale) // the key is still unsure
	f.modify(t, f.jws(map[string]any{"name": "x", "encryptionKey": json.RawMessage(publicJWK(1))}), 204)
	f.mustState(t, targets.Active)
}

// Two sidecars change a target at once. Nobody knows in which order nevisFIDO
// did, so neither record may be believed; a later change of the same member is.
func TestOverlappingChanges(t *testing.T) {
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		for _, statuses := range [][2]int{{204, 204}, {204, 500}, {500, 204}, {204, 401}, {401, 204}, {401, 401}} {
			f := newFixture()
			f.learn(t, nil)
			other := f.another()
			first, err := f.BeginModify(t.Context(), "one", f.jws(newKey(1)))
			if err != nil {
				t.Fatal(err)
			}
			second, err := other.BeginModify(t.Context(), "one", f.jws(newKey(2)))
			if err != nil {
				t.Fatal(err)
			}
			both := []*targets.Change{first, second}
			for _, i := range order {
				f.mustState(t, targets.Stale)
				if err := both[i].Finish(t.Context(), statuses[i]); err != nil {
					t.Fatal(err)
				}
			}
			want := targets.Stale
			if statuses == [2]int{401, 401} {
				want = targets.Active
			}
			f.mustState(t, want)
			f.modify(t, f.jws(newKey(3)), 204)
			f.mustState(t, targets.Active)
		}
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
			f := newFixture()
			f.learn(t, nil)
			before := f.store.Dump()
			p, err := f.BeginModify(t.Context(), "one", jws(f))
			if err != nil {
				t.Fatal(err)
			}
			f.mustState(t, targets.Active)
			if err := p.Finish(t.Context(), status); err != nil {
				t.Fatal(err)
			}
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

// nevisFIDO accepted what our signature key does not verify: ours is outdated.
func TestSignatureMismatchIsStale(t *testing.T) {
	f := newFixture()
	f.learn(t, nil)
	f.modify(t, forged(f, newKey(1)), 204)
	f.mustHaveSent(t, "stale signature")
	if got := f.mustState(t, targets.Stale); got.Thumbprint != thumbprint(0) {
		t.Errorf("a modification that does not verify was applied: %+v", got)
	}
	// The doubtful signature key is no reason any more to take others for forgeries.
	f.modify(t, forged(f, map[string]any{
		"name": "x", "target": "address-2", "dispatcher": "fcm",
		"encryptionKey": json.RawMessage(publicJWK(2)), "signatureKey": json.RawMessage(signingKeys[1].JWK()),
	}), 204)
	if got := f.mustState(t, targets.Active); got.Thumbprint != thumbprint(2) {
		t.Errorf("modified to %+v", got)
	}
}

func TestJWSTargetMismatch(t *testing.T) {
	for _, change := range []func(*nevisfido.TargetDescription){nil, unsigned} {
		f := newFixture()
		f.learn(t, change)
		f.modify(t, f.jws(map[string]any{"dispatchTargetId": "two", "encryptionKey": json.RawMessage(publicJWK(1))}), 204)
		f.mustHaveSent(t, "stale target_id")
		if got := f.mustState(t, targets.Stale); got.Thumbprint != thumbprint(0) {
			t.Errorf("applied: %+v", got)
		}
	}
}

func TestTargetNameIsOptionalInJWS(t *testing.T) {
	f := newFixture()
	f.learn(t, nil)
	f.modify(t, f.jws(map[string]any{"dispatchTargetId": nil, "creationTimeInEpochMillis": nil, "name": "x"}), 204)
	if got := f.mustState(t, targets.Active); got.Name != "x" {
		t.Errorf("modified to %+v", got)
	}
}

func TestOlderPatchIgnored(t *testing.T) {
	f := newFixture()
	f.learn(t, nil)
	older := f.jws(newKey(1))
	f.now = f.now.Add(time.Minute)
	f.modify(t, f.jws(newKey(2)), 204)
	f.events = nil
	f.modify(t, older, 204)
	f.mustHaveSent(t, "stale older")
	// nevisFIDO holds key 1 or key 2: not for us to say.
	if got := f.mustState(t, targets.Stale); got.Thumbprint != thumbprint(2) {
		t.Errorf("an older modification overwrote a newer one: %+v", got)
	}
	// Refused, as it should be, it does nothing.
	f.modify(t, f.jws(newKey(2)), 204)
	f.modify(t, older, 401)
	f.mustState(t, targets.Active)
}

func TestReplayIdempotent(t *testing.T) {
	f := newFixture()
	f.learn(t, nil)
	jws := f.jws(newKey(1))
	f.modify(t, jws, 204)
	once := f.store.Dump()
	f.modify(t, jws, 204)
	if !bytes.Equal(once, f.store.Dump()) {
		t.Errorf("the same JWS again changed the record to %+v", f.find(t))
	}
}

func TestFreshness(t *testing.T) {
	for _, test := range []struct {
		age    time.Duration
		change func(*nevisfido.TargetDescription)
		want   targets.State
	}{
		{5 * time.Minute, nil, targets.Active},
		{-5 * time.Minute, nil, targets.Active},
		{5*time.Minute + time.Millisecond, nil, targets.Stale},
		{-5*time.Minute - time.Millisecond, nil, targets.Stale},
		{time.Hour, unsigned, targets.Active}, // nevisFIDO verified it, and its clock counts
	} {
		f := newFixture()
		f.learn(t, test.change)
		jws := f.jws(newKey(1))
		f.now = f.now.Add(test.age)
		f.modify(t, jws, 204)
		got := f.mustState(t, test.want)
		if applied := got.Thumbprint == thumbprint(1); applied != (test.want == targets.Active) {
			t.Errorf("age %s: applied %t", test.age, applied)
		}
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
			p, err := f.BeginModify(t.Context(), "one", jws)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := p.OnlyDispatcher(); ok {
				t.Errorf("%s: changes the dispatcher only", name)
			}
			if err := p.Finish(t.Context(), 204); err != nil {
				t.Fatal(err)
			}
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
		p, err := f.BeginModify(t.Context(), "one", f.jws(test.members))
		if err != nil {
			t.Fatal(err)
		}
		f.mustState(t, targets.Stale)
		if err := p.Finish(t.Context(), test.status); err != nil {
			t.Fatal(err)
		}
		got := f.mustState(t, test.want)
		if test.key >= 0 && got.Thumbprint != thumbprint(test.key) || test.key < 0 && got.Thumbprint != "" {
			t.Errorf("%v with status %d: found %+v", test.members, test.status, got)
		}
	}
}

func TestFenceCannotBeWritten(t *testing.T) {
	for _, op := range []kvtest.Op{kvtest.Update, kvtest.Write} {
		f := newFixture()
		f.learn(t, nil)
		withFault(f, op, errors.New("no space left"))
		if _, err := f.BeginModify(t.Context(), "one", f.jws(newKey(1))); !errors.Is(err, targets.ErrUnavailable) {
			t.Errorf("%s fails: BeginModify gave error %v, want ErrUnavailable", op, err)
		}
		if _, err := f.BeginDelete(t.Context(), "one"); !errors.Is(err, targets.ErrUnavailable) {
			t.Errorf("%s fails: BeginDelete gave error %v, want ErrUnavailable", op, err)
		}
	}
}

// A fence that was written although the store reported an error does not stay:
// nevisFIDO was not asked.
func TestFenceOfUncertainWriteIsTakenBack(t *testing.T) {
	for name, begin := range map[string]func(*fixture) error{
		"modify": func(f *fixture) error {
			_, err := f.BeginModify(t.Context(), "one", f.jws(newKey(1)))
			return err
		},
		"delete": func(f *fixture) error {
			_, err := f.BeginDelete(t.Context(), "one")
			return err
		},
		"device": func(f *fixture) error {
			_, err := f.BeginDevice(t.Context(), "device-1", f.deviceSignature(nil), true)
			return err
		},
	} {
		f := newFixture()
		f.learn(t, nil)
		failed := false
		f.store.SetFault(func(_ context.Context, op kvtest.Op) error {
			if op != kvtest.Written || failed {
				return nil
			}
			failed = true
			return errors.New("connection reset")
		})
		if err := begin(f); !errors.Is(err, targets.ErrUnavailable) {
			t.Errorf("%s: error %v", name, err)
		}
		if got := f.stored(t); got.State() != targets.Active {
			t.Errorf("%s: the record is %+v", name, got)
		}
	}
}

func TestFinishWithStoreDownStaysStale(t *testing.T) {
	for _, status := range []int{204, 401, 500} {
		f := newFixture()
		f.learn(t, nil)
		p, err := f.BeginModify(t.Context(), "one", f.jws(newKey(1)))
		if err != nil {
			t.Fatal(err)
		}
		withFault(f, kvtest.Write, errors.New("no space left"))
		if err := p.Finish(t.Context(), status); !errors.Is(err, targets.ErrUnavailable) {
			t.Errorf("status %d: error %v, want ErrUnavailable", status, err)
		}
		f.mustHaveSent(t)
		f.store.SetFault(nil)
		f.mustState(t, targets.Stale)
	}
}

// Whoever hangs up at the right moment disables nothing and prevents nothing.
func TestChangeOutlivesTheRequest(t *testing.T) {
	f := newFixture()
	f.learn(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	f.store.SetFault(func(context.Context, kvtest.Op) error { cancel(); return nil })
	p, err := f.BeginModify(ctx, "one", f.jws(newKey(1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Finish(ctx, 204); err != nil {
		t.Fatal(err)
	}
	if err := p.Finish(ctx, 0); err != nil { // as a deferred call does
		t.Fatal(err)
	}
	if got := f.mustState(t, targets.Active); got.Thumbprint != thumbprint(1) {
		t.Errorf("modified to %+v", got)
	}
}

func TestDelete(t *testing.T) {
	for status, want := range map[int]string{
		200: "gone", 204: "gone", 400: "old", 401: "old", 403: "old", 404: "old", 0: "stale", 302: "stale", 500: "stale", 503: "stale",
	} {
		f := newFixture()
		f.learn(t, nil)
		before := f.store.Dump()
		p, err := f.BeginDelete(t.Context(), "one")
		if err != nil {
			t.Fatal(err)
		}
		f.mustState(t, targets.Stale)
		if err := p.Finish(t.Context(), status); err != nil {
			t.Fatal(err)
		}
		switch want {
		case "gone":
			f.mustBeUnknown(t)
			f.mustHaveSent(t, "forgotten")
		case "old":
			if !bytes.Equal(before, f.store.Dump()) {
				t.Errorf("status %d: the record is not as it was", status)
			}
		case "stale":
			f.mustState(t, targets.Stale)
			f.modify(t, f.jws(map[string]any{"name": "x"}), 204) // so it exists
			f.mustState(t, targets.Active)
		}
	}
	f := newFixture(named(none())...)
	p, err := f.BeginDelete(t.Context(), "nobody")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Finish(t.Context(), 500); err != nil {
		t.Fatal(err)
	}
	if dump := f.store.Dump(); len(dump) > 0 {
		t.Errorf("%s is stored of a target that is not known", dump)
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
		p, err := f.BeginModify(t.Context(), "one", jws)
		if err != nil {
			t.Fatal(err)
		}
		name, ok := p.OnlyDispatcher()
		if ok != test.want || ok && name != "letter" {
			t.Errorf("%s: OnlyDispatcher gave %q, %t", test.name, name, ok)
		}
		if err := p.ApplyDispatcher(t.Context()); (err == nil) != test.want {
			t.Errorf("%s: ApplyDispatcher gave error %v", test.name, err)
		}
		if err := p.Finish(t.Context(), 422); err != nil {
			t.Fatal(err)
		}
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
	f := newFixture()
	f.learn(t, nil)
	choose := func(jws []byte) error {
		p, err := f.BeginModify(t.Context(), "one", jws)
		if err != nil {
			t.Fatal(err)
		}
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
	f := newFixture()
	f.learn(t, nil)
	if err := f.Expire(t.Context(), f.find(t)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []targets.State{targets.Expired, targets.Stale} {
		p, err := f.BeginModify(t.Context(), "one", f.jws(map[string]any{"dispatcher": "letter"}))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.ApplyDispatcher(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.mustState(t, want)
		f.modify(t, f.jws(newKey(1)), 500)
	}
}

func TestApplyDispatcherWithStoreDown(t *testing.T) {
	f := newFixture()
	f.learn(t, nil)
	p, err := f.BeginModify(t.Context(), "one", f.jws(map[string]any{"dispatcher": "letter"}))
	if err != nil {
		t.Fatal(err)
	}
	withFault(f, kvtest.Write, errors.New("no space left"))
	if err := p.ApplyDispatcher(t.Context()); !errors.Is(err, targets.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	f.store.SetFault(nil)
	if err := p.Finish(t.Context(), 422); err != nil {
		t.Fatal(err)
	}
	if got := f.mustState(t, targets.Active); got.Dispatcher != "fcm" {
		t.Errorf("the record is %+v", got)
	}
}

func TestErrorsQuoteNothing(t *testing.T) {
	f := newFixture()
	f.learn(t, func(desc *nevisfido.TargetDescription) { desc.Target = "canary-address" })
	ref := targets.Ref{Namespace: "bank", ID: "one"}
	good := bytes.TrimSpace(f.store.Dump())
	for i := range good {
		_, err := targets.Decode(good[:i], ref)
		if err == nil {
			t.Fatalf("%d of %d bytes of a record were accepted", i, len(good))
		}
		for _, secret := range []string{"canary", "jeff", thumbprint(0)} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("error %q quotes the record", err)
			}
		}
	}
}

package targets_test

import (
	"bytes"
	"context"
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
			f := learned(t)
			if !signed {
				f.learn(t, unsigned)
			}
			before := f.store.Dump()
			p := must(f.BeginModify(t.Context(), "one", f.jws(newKey(1))))
			f.mustState(t, targets.Stale) // before nevisFIDO sees it
			f.now = f.now.Add(time.Second)
			finish(t, p, status)
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
		f := learned(t)
		f.modify(t, f.jws(newKey(1)), 500)
		f.mustHaveSent(t, "stale unanswered")
		f.modify(t, f.jws(again.members), 401)
		f.mustState(t, targets.Stale)
		f.modify(t, f.jws(again.members), 204)
		f.mustState(t, again.want)
	}
}

func TestCrashLeavesStale(t *testing.T) {
	f := learned(t)
	must(f.BeginModify(t.Context(), "one", f.jws(newKey(1))))
	f = f.another() // The first process dies here. Others cannot know for a while.
	if got := f.mustState(t, targets.Stale); !got.KeyUnsure() || got.AddressUnsure() {
		t.Errorf("the wrong members are unsure: %+v", got)
	}
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
			f := learned(t)
			other := f.another()
			first := must(f.BeginModify(t.Context(), "one", f.jws(newKey(1))))
			second := must(other.BeginModify(t.Context(), "one", f.jws(newKey(2))))
			both := []*targets.Change{first, second}
			for _, i := range order {
				f.mustState(t, targets.Stale)
				finish(t, both[i], statuses[i])
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

// A modification that does not verify has no fence. If nevisFIDO accepts it, the
// one that is under way must not take its own for the last.
func TestForgeryThatIsAcceptedDuringAChange(t *testing.T) {
	f := learned(t)
	c := must(f.BeginModify(t.Context(), "one", f.jws(newKey(1))))
	f.another().modify(t, forged(f, newKey(2)), 204)
	finish(t, c, 204)
	if got := f.mustState(t, targets.Stale); !got.KeyUnsure() {
		t.Errorf("the key is trusted: %+v", got)
	}
}

func TestFenceCannotBeWritten(t *testing.T) {
	for _, op := range []kvtest.Op{kvtest.Update, kvtest.Write} {
		f := learned(t)
		withFault(f, op, errors.New("no space left"))
		if _, err := f.BeginModify(t.Context(), "one", f.jws(newKey(1))); !errors.Is(err, targets.ErrUnavailable) {
			t.Errorf("%s fails: BeginModify gave error %v, want ErrUnavailable", op, err)
		}
		if _, err := f.BeginDelete(t.Context(), "one"); !errors.Is(err, targets.ErrUnavailable) {
			t.Errorf("%s fails: BeginDelete gave error %v, want ErrUnavailable", op, err)
		}
	}
}

// beginnings are the ways in which a change of target "one" begins.
var beginnings = map[string]func(*testing.T, *fixture) (*targets.Change, error){
	"modify": func(t *testing.T, f *fixture) (*targets.Change, error) {
		return f.BeginModify(t.Context(), "one", f.jws(newKey(1)))
	},
	"delete": func(t *testing.T, f *fixture) (*targets.Change, error) { return f.BeginDelete(t.Context(), "one") },
	"device": func(t *testing.T, f *fixture) (*targets.Change, error) {
		return f.BeginDevice(t.Context(), f.deviceCall(nil, true))
	},
}

// late is a store to which writes come late: they are reported as failed.
type late struct {
	targets.Store
	writes []func() error
}

func (s *late) Update(ctx context.Context, ref targets.Ref, edit targets.Edit) error {
	s.writes = append(s.writes, func() error { return s.Store.Update(context.WithoutCancel(ctx), ref, edit) })
	return context.DeadlineExceeded
}

// A change that was never forwarded leaves nothing behind, also when its fence
// comes to the store late.
func TestFenceThatComesLateIsTakenBack(t *testing.T) {
	for _, after := range []time.Duration{0, time.Minute, 4 * time.Minute} {
		f := learned(t)
		before := f.store.Dump()
		slow := &late{Store: f.store}
		f.Store = slow
		for name, begin := range beginnings {
			if _, err := begin(t, f); !errors.Is(err, targets.ErrUnavailable) {
				t.Errorf("%s: error %v", name, err)
			}
		}
		f.Store = f.store
		f.Flush(t.Context())
		f.now = f.now.Add(after)
		for _, write := range slow.writes[:1] { // the fence, not what took it back
			if err := write(); err != nil {
				t.Fatal(err)
			}
		}
		f.mustState(t, targets.Stale)
		f.Flush(t.Context())
		f.mustState(t, targets.Active)
		if !bytes.Equal(before, f.store.Dump()) {
			t.Errorf("the record is %s", f.store.Dump())
		}
		if n := f.Unsynced.Len(); n != 0 {
			t.Errorf("%d targets are said to be waiting", n)
		}
		f.now = f.now.Add(time.Hour)
		f.Flush(t.Context())
		f.store.SetFault(func(context.Context, kvtest.Op) error {
			t.Error("the store is asked for ever")
			return nil
		})
		f.Flush(t.Context())
	}
}

// A fence that was written although the store reported an error does not stay:
// nevisFIDO was not asked.
func TestFenceOfUncertainWriteIsTakenBack(t *testing.T) {
	for name, begin := range beginnings {
		f := learned(t)
		failed := false
		f.store.SetFault(func(_ context.Context, op kvtest.Op) error {
			if op != kvtest.Written || failed {
				return nil
			}
			failed = true
			return errors.New("connection reset")
		})
		if _, err := begin(t, f); !errors.Is(err, targets.ErrUnavailable) {
			t.Errorf("%s: error %v", name, err)
		}
		if got := f.stored(t); got.State() != targets.Active {
			t.Errorf("%s: the record is %+v", name, got)
		}
	}
}

// The outcome of a change is recorded when the store takes it, unless somebody has
// seen to its fence by then.
func TestFinishWithStoreDown(t *testing.T) {
	for status, want := range map[int]targets.State{204: targets.Active, 401: targets.Active, 500: targets.Stale} {
		f := learned(t)
		c := must(f.BeginModify(t.Context(), "one", f.jws(newKey(1))))
		withFault(f, kvtest.Write, errFull)
		if err := c.Finish(t.Context(), status); !errors.Is(err, targets.ErrUnavailable) {
			t.Errorf("status %d: error %v, want ErrUnavailable", status, err)
		}
		f.mustHaveSent(t)
		f.Flush(t.Context())
		f.store.SetFault(nil)
		f.mustState(t, targets.Stale)
		if n := f.Unsynced.Len(); n != 1 {
			t.Errorf("status %d: %d are waiting", status, n)
		}
		f.flush(t)
		if got := f.mustState(t, want); (got.Thumbprint == thumbprint(1)) != (status == 204) {
			t.Errorf("status %d: the record is %+v", status, got)
		}
	}
	for name, between := range map[string]func(*fixture){
		"registered anew": func(f *fixture) { f.learn(t, nil) },
		"a later change": func(f *fixture) {
			f.now = f.now.Add(2 * targets.ChangeTime)
			f.modify(t, f.jws(newKey(2)), 204)
		},
	} {
		f := learned(t)
		c := must(f.BeginModify(t.Context(), "one", f.jws(newKey(1))))
		withFault(f, kvtest.Write, errFull)
		_ = c.Finish(t.Context(), 204)
		f.store.SetFault(nil)
		between(f.another())
		f.flush(t)
		if got := f.mustState(t, targets.Active); got.Thumbprint == thumbprint(1) {
			t.Errorf("%s: the record is %+v", name, got)
		}
	}
}

// Whoever hangs up at the right moment disables nothing and prevents nothing.
func TestChangeOutlivesTheRequest(t *testing.T) {
	f := learned(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.store.SetFault(func(context.Context, kvtest.Op) error { cancel(); return nil })
	p := must(f.BeginModify(ctx, "one", f.jws(newKey(1))))
	if err := p.Finish(ctx, 204); err != nil {
		t.Fatal(err)
	}
	if err := p.Finish(ctx, 0); err != nil { // as a deferred call does
		t.Fatal(err)
	}
	f.mustHaveKey(t, targets.Active, 1)
}

func TestDelete(t *testing.T) {
	for status, want := range map[int]string{
		200: "gone", 204: "gone", 400: "old", 401: "old", 403: "old", 404: "old", 0: "stale", 302: "stale", 500: "stale", 503: "stale",
	} {
		f := learned(t)
		before := f.store.Dump()
		p := must(f.BeginDelete(t.Context(), "one"))
		f.mustState(t, targets.Stale)
		finish(t, p, status)
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
	p := must(f.BeginDelete(t.Context(), "nobody"))
	finish(t, p, 500)
	if dump := f.store.Dump(); len(dump) > 0 {
		t.Errorf("%s is stored of a target that is not known", dump)
	}
}

func TestErrorsQuoteNothing(t *testing.T) {
	f := newFixture()
	f.learn(t, func(desc *nevisfido.TargetDescription) { desc.Target = "canary-address" })
	good := bytes.TrimSpace(f.store.Dump())
	for i := range good {
		_, err := targets.Decode(good[:i], one.Hash())
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

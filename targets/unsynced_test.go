package targets_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

var errFull = errors.New("no space left")

// readOnly makes all writes fail.
func (f *fixture) readOnly() { withFault(f, kvtest.Write, errFull) }

// flush writes what is waiting, and fails if something is left.
func (f *fixture) flush(t *testing.T) {
	t.Helper()
	f.store.SetFault(nil)
	f.Flush(t.Context())
	if n := f.Unsynced.Len(); n != 0 {
		t.Errorf("%d changes are still waiting", n)
	}
}

// unrecorded forwards a change although the store fails, up to nevisFIDO's answer.
func unrecorded(t *testing.T, c *targets.Change, err error, status int) {
	t.Helper()
	if !errors.Is(err, targets.ErrUnavailable) {
		t.Fatalf("beginning gave error %v", err)
	}
	c.Unrecorded()
	finish(t, c, status)
}

func modifyUnrecorded(t *testing.T, f *fixture, status int) {
	t.Helper()
	c, err := f.BeginModify(t.Context(), "one", f.jws(newKey(3)))
	unrecorded(t, c, err, status)
}

func changeDeviceUnrecorded(t *testing.T, f *fixture, status int) {
	t.Helper()
	c, err := f.BeginDevice(t.Context(), f.deviceCall(nil, true))
	unrecorded(t, c, err, status)
}

// unsynced are the ways in which nevisFIDO's record may change while the store
// cannot be told.
var unsynced = map[string]func(*testing.T, *fixture){
	"a registration that is not read": func(t *testing.T, f *fixture) {
		if err := f.Invalidate(t.Context(), "one", targets.SourceRegistration); !errors.Is(err, targets.ErrUnavailable) {
			t.Fatalf("dropping gave error %v", err)
		}
	},
	"a change of the target that is let through": func(t *testing.T, f *fixture) { modifyUnrecorded(t, f, 204) },
	"one that is not answered":                   func(t *testing.T, f *fixture) { modifyUnrecorded(t, f, 500) },
	"a change of the device that is let through": func(t *testing.T, f *fixture) { changeDeviceUnrecorded(t, f, 204) },
	"a forgery that nevisFIDO accepted": func(t *testing.T, f *fixture) {
		f.store.SetFault(nil)
		c := must(f.BeginModify(t.Context(), "one", forged(f, newKey(1))))
		f.readOnly()
		if err := c.Finish(t.Context(), 204); !errors.Is(err, targets.ErrUnavailable) {
			t.Errorf("error %v, want ErrUnavailable", err)
		}
	},
}

// What nevisFIDO accepted while the store failed is not forgotten: the old key
// is not used, neither while it fails nor afterwards.
func TestUnsyncedChangeIsStale(t *testing.T) {
	for name, change := range unsynced {
		t.Run(name, func(t *testing.T) {
			f := learned(t)
			f.readOnly()
			change(t, f)
			f.mustState(t, targets.Stale)
			reloaded := f.another()
			reloaded.Unsynced = f.Unsynced
			reloaded.mustState(t, targets.Stale)
			f.another().mustState(t, targets.Active) // which is why it has to be written
			withFault(f, kvtest.Load, errFull)
			if _, err := f.Find(t.Context(), "one"); !errors.Is(err, targets.ErrUnavailable) {
				t.Errorf("Find gave error %v, want ErrUnavailable", err)
			}
			f.store.SetFault(nil)
			f.mustState(t, targets.Stale)
			f.events = nil
			f.flush(t)
			f.another().mustState(t, targets.Stale)
			f.learn(t, nil)
			f.mustState(t, targets.Active)
		})
	}
}

// A target that nevisFIDO has made while the store fails serves at once here, and
// everywhere when the store takes it.
func TestUnsyncedTargetServes(t *testing.T) {
	for _, op := range []kvtest.Op{kvtest.Update, kvtest.Write, kvtest.Written, kvtest.Load} {
		for _, known := range []bool{false, true} {
			f := newFixture()
			if known {
				f.learn(t, nil)
				f.now = f.now.Add(time.Second)
			}
			f.store.SetFault(func(_ context.Context, at kvtest.Op) error {
				if at == op || op == kvtest.Load && at == kvtest.Update {
					return errFull
				}
				return nil
			})
			err := f.create(t, nevisfido.TargetDescription{Target: "address-2", EncryptionKey: publicJWK(1)})
			if !errors.Is(err, targets.ErrUnavailable) || f.Unsynced.Len() != 1 {
				t.Errorf("%s fails: error %v, %d are waiting", op, err, f.Unsynced.Len())
			}
			if known && op != kvtest.Update && op != kvtest.Load {
				f.mustHaveSent(t, "learned", "key_changed")
			} else {
				f.mustHaveSent(t, "learned")
			}
			if got := f.mustState(t, targets.Active); got.Thumbprint != thumbprint(1) || got.Address != "address-2" {
				t.Errorf("%s fails: found %+v", op, got)
			}
			f.flush(t)
			f.mustHaveSent(t)
			if got := f.stored(t); got.Thumbprint != thumbprint(1) || got.State() != targets.Active {
				t.Errorf("%s fails: others find %+v", op, got)
			}
		}
	}
}

// What happens to a waiting target afterwards is not lost.
func TestChangeOfAWaitingTarget(t *testing.T) {
	learn := func(f *fixture) {
		f.readOnly()
		err := f.create(t, nevisfido.TargetDescription{
			DeviceID: "device-1", Target: "address-1", EncryptionKey: publicJWK(0), SignatureKey: signingKeys[0].JWK(),
		})
		if !errors.Is(err, targets.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		change func(*fixture)
		want   targets.State
	}{
		"address gone": {func(f *fixture) { _ = f.Expire(t.Context(), f.find(t)) }, targets.Expired},
		"let through":  {func(f *fixture) { modifyUnrecorded(t, f, 204) }, targets.Stale},
		"refused":      {func(f *fixture) { modifyUnrecorded(t, f, 401) }, targets.Active},
		"modified":     {func(f *fixture) { f.store.SetFault(nil); f.modify(t, f.jws(newKey(1)), 204) }, targets.Active},
		"not answered": {func(f *fixture) { f.store.SetFault(nil); f.modify(t, f.jws(newKey(1)), 500) }, targets.Stale},
		"made anew":    {learn, targets.Active},
		"dropped":      {func(f *fixture) { f.store.SetFault(nil); _ = f.Drop(t.Context(), "one") }, "gone"},
	} {
		f := newFixture()
		learn(f)
		c.change(f)
		if got := f.states(t, "one"); got["one"] != c.want {
			t.Errorf("%s: the target is %s, want %s", name, got["one"], c.want)
		}
		f.flush(t)
		if got := f.another().states(t, "one"); got["one"] != c.want {
			t.Errorf("%s: written, the target is %s, want %s", name, got["one"], c.want)
		}
	}
}

// Another process has changed the target meanwhile: nobody knows who is right.
func TestWaitingTargetMeetsALaterRecord(t *testing.T) {
	f := newFixture()
	f.readOnly()
	_ = f.create(t, nevisfido.TargetDescription{EncryptionKey: publicJWK(0)})
	f.store.SetFault(nil)
	f.now = f.now.Add(time.Second)
	other := f.another()
	other.modify(t, other.jws(newKey(1)), 204)
	f.mustState(t, targets.Stale)
	f.flush(t)
	other.mustState(t, targets.Stale)
	other.modify(t, other.jws(everything(2, 1)), 204)
	f.mustState(t, targets.Active)
}

// What nevisFIDO refused has not happened.
func TestRefusedChangeIsNotWaiting(t *testing.T) {
	f := learned(t)
	f.readOnly()
	for _, change := range []func(*testing.T, *fixture, int){modifyUnrecorded, changeDeviceUnrecorded} {
		change(t, f, 401)
		f.mustState(t, targets.Active)
	}
	first, err := f.BeginModify(t.Context(), "one", f.jws(newKey(1)))
	second, _ := f.BeginDelete(t.Context(), "one")
	if !errors.Is(err, targets.ErrUnavailable) {
		t.Fatal(err)
	}
	first.Unrecorded()
	second.Unrecorded()
	finish(t, first, 204)
	finish(t, second, 401)
	f.mustState(t, targets.Stale)
}

// What is certain ends it, and is not overwritten by it later.
func TestCertaintyEndsWaiting(t *testing.T) {
	f := learned(t)
	f.readOnly()
	modifyUnrecorded(t, f, 204)
	f.store.SetFault(nil)
	f.learn(t, func(desc *nevisfido.TargetDescription) { desc.EncryptionKey = publicJWK(2) })
	if got := f.mustState(t, targets.Active); got.Thumbprint != thumbprint(2) || f.Unsynced.Len() != 0 {
		t.Errorf("%d are waiting, found %+v", f.Unsynced.Len(), got)
	}

	f.readOnly()
	modifyUnrecorded(t, f, 204)
	f.store.SetFault(nil)
	f.modify(t, f.jws(map[string]any{"name": "x"}), 204)
	f.mustState(t, targets.Stale) // the name says nothing of the key
	f.modify(t, forged(f, map[string]any{"name": "x"}), 401)
	f.mustState(t, targets.Stale)

	f.readOnly()
	modifyUnrecorded(t, f, 204)
	f.store.SetFault(nil)
	c := must(f.BeginDelete(t.Context(), "one"))
	finish(t, c, 204)
	f.mustBeUnknown(t)
}

// What changes while an earlier change is written is not taken for that.
func TestChangeWhileAnotherIsWritten(t *testing.T) {
	f := learned(t)
	f.readOnly()
	modifyUnrecorded(t, f, 204)
	f.store.SetFault(nil)
	done := false
	f.store.SetFault(func(_ context.Context, op kvtest.Op) error {
		if op == kvtest.Written && !done {
			done = true
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			late, _ := f.BeginDelete(ctx, "one")
			late.Unrecorded()
			return late.Finish(t.Context(), 204)
		}
		return nil
	})
	f.learn(t, nil)
	f.store.SetFault(nil)
	if n := f.Unsynced.Len(); n != 1 {
		t.Errorf("%d changes are waiting", n)
	}
	f.mustState(t, targets.Stale)
}

// Of a change that has a fence, and another one at the same time that has none,
// nobody knows which nevisFIDO made first.
func TestUnsyncedChangeOverlapsAnother(t *testing.T) {
	for name, change := range unsynced {
		t.Run(name, func(t *testing.T) {
			f := learned(t)
			other := f.another()
			c := must(other.BeginModify(t.Context(), "one", other.jws(everything(2, 1))))
			f.readOnly()
			change(t, f)
			f.flush(t)
			finish(t, c, 204)
			f.mustState(t, targets.Stale)
		})
	}
}

// A key source with an older copy does not bring back what has changed.
func TestUnsyncedChangeOfUnknownTarget(t *testing.T) {
	s := found(1)
	f := newFixture(named(s)...)
	f.readOnly()
	modifyUnrecorded(t, f, 204)
	f.mustState(t, targets.Stale)
	f.flush(t)
	f.mustState(t, targets.Stale)
	if s.asked != 0 {
		t.Errorf("the source was asked %d times", s.asked)
	}
	s.live = true
	f.mustState(t, targets.Active)

	none := newFixture()
	none.readOnly()
	modifyUnrecorded(t, none, 204)
	none.mustBeUnknown(t)
	none.flush(t)
	none.mustBeUnknown(t)
}

// An address that is gone stays so, although the store cannot be told.
func TestUnsyncedQuarantine(t *testing.T) {
	for _, changed := range []bool{false, true} {
		f := learned(t)
		record := f.find(t)
		f.readOnly()
		if err := f.Expire(t.Context(), record); !errors.Is(err, targets.ErrUnavailable) {
			t.Fatalf("Expire gave error %v", err)
		}
		f.mustState(t, targets.Expired)
		f.store.SetFault(nil)
		if changed { // it has another address meanwhile
			f.learn(t, func(desc *nevisfido.TargetDescription) { desc.Target = "address-2" })
			f.mustState(t, targets.Active)
			continue
		}
		f.flush(t)
		f.mustHaveSent(t, "expired unrecorded")
		f.another().mustState(t, targets.Expired)
		f.modify(t, f.jws(map[string]any{"target": "address-2"}), 204)
		f.mustState(t, targets.Active)
	}
}

// Where no more can be kept, nevisFIDO is asked for no more targets. What is
// forwarded nevertheless and cannot be kept leaves no record to be trusted.
func TestMoreThanCanWait(t *testing.T) {
	f := learned(t, named(&source{live: true, err: targets.ErrNotFound})...) // new targets need no store
	f.readOnly()
	long := strings.Repeat("x", 1<<20)
	for i := range 17 {
		if full := i >= 15; (f.BeginLearn(t.Context()) != nil) != full {
			t.Errorf("after %d MiB full is %t", i, !full)
		}
		if i == 15 {
			f.mustState(t, targets.Active)
		}
		c, err := f.BeginDelete(t.Context(), fmt.Sprint(i, long))
		unrecorded(t, c, err, 204)
	}
	if _, err := f.Find(t.Context(), "one"); !errors.Is(err, targets.ErrUnavailable) {
		t.Errorf("Find gave error %v", err)
	}
	if err := f.BeginLearn(t.Context()); !errors.Is(err, targets.ErrUnavailable) {
		t.Errorf("BeginLearn gave error %v", err)
	}
}

// Addresses that are gone take no room from changes.
func TestMoreQuarantinesThanRoom(t *testing.T) {
	f := learned(t, named(&source{live: true, err: targets.ErrNotFound})...)
	f.readOnly()
	long := strings.Repeat("x", 1<<20)
	for i := range 18 {
		gone := &targets.Target{Namespace: "bank", ID: fmt.Sprint(i, long), Address: "address-2"}
		if err := f.Expire(t.Context(), gone); !errors.Is(err, targets.ErrUnavailable) {
			t.Fatalf("expiring gave error %v", err)
		}
	}
	if err := f.BeginLearn(t.Context()); !errors.Is(err, targets.ErrUnavailable) {
		t.Errorf("BeginLearn gave error %v", err)
	}
	f.mustState(t, targets.Active)
}

// The store is told without anybody asking for the target, by whichever
// configuration runs.
func TestRun(t *testing.T) {
	f := learned(t)
	f.readOnly()
	modifyUnrecorded(t, f, 204)
	reloaded := f.another()
	reloaded.Unsynced = f.Unsynced
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go f.Run(ctx)
		time.Sleep(10 * time.Second)
		cancel()
		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		go reloaded.Run(ctx)
		time.Sleep(10 * time.Second)
		if n := f.Unsynced.Len(); n != 1 {
			t.Errorf("%d changes are waiting", n)
		}
		f.store.SetFault(nil)
		time.Sleep(2 * time.Second)
		if n := f.Unsynced.Len(); n != 0 {
			t.Errorf("%d changes are waiting", n)
		}
	})
	f.another().mustState(t, targets.Stale)
}

// A store that fails is not asked for everything that is waiting.
func TestFlushEndsEarly(t *testing.T) {
	f := newFixture()
	f.readOnly()
	for i := range 100 {
		c, err := f.BeginDelete(t.Context(), fmt.Sprint(i))
		unrecorded(t, c, err, 204)
	}
	asked := 0
	f.store.SetFault(func(context.Context, kvtest.Op) error {
		asked++
		return errFull
	})
	f.Flush(t.Context())
	if asked > 10 {
		t.Errorf("the store was asked %d times", asked)
	}
}

// nevisFIDO is not asked for a target that could not be kept.
func TestBeginLearn(t *testing.T) {
	for name, c := range map[string]struct {
		sources []*source
		fault   kvtest.Op
		ok      bool
	}{
		"works":            {nil, "", true},
		"cannot be read":   {nil, kvtest.Update, false},
		"read only":        {nil, kvtest.Write, false},
		"an old copy":      {[]*source{found(1)}, kvtest.Write, false},
		"a live source":    {[]*source{found(1), {live: true}}, kvtest.Write, true},
		"fails afterwards": {nil, kvtest.Written, false},
	} {
		f := newFixture(named(c.sources...)...)
		withFault(f, c.fault, errFull)
		if err := f.BeginLearn(t.Context()); (err == nil) != c.ok || err != nil && !errors.Is(err, targets.ErrUnavailable) {
			t.Errorf("%s: error %v", name, err)
		}
		if c.ok && len(f.store.Dump()) != 0 {
			t.Errorf("%s: %s is left", name, f.store.Dump())
		}
		f.mustHaveSent(t)
	}
}

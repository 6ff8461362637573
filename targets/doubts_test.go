package targets_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/storetest"
)

var errFull = errors.New("no space left")

// readOnly makes all writes fail.
func (f *fixture) readOnly() { withFault(f, storetest.Write, errFull) }

// stored returns the record as another process sees it.
func (f *fixture) stored(t *testing.T) *targets.Target {
	t.Helper()
	record, err := f.store.Load(t.Context(), targets.Ref{Namespace: "bank", ID: "one"})
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// unrecorded are the ways in which nevisFIDO's record may change while the
// store cannot be told.
var unrecorded = map[string]func(*testing.T, *fixture){
	"a registration with another key": func(t *testing.T, f *fixture) {
		desc := &nevisfido.TargetDescription{DeviceID: "device-1", EncryptionKey: publicJWK(1)}
		if err := f.Learn(t.Context(), desc, nevisfido.CreatedTarget{ID: "one"}, targets.SourceRegistration); !errors.Is(err, targets.ErrUnavailable) {
			t.Fatalf("learning gave error %v", err)
		}
	},
	"a registration that is not read": func(t *testing.T, f *fixture) {
		if err := f.Distrust(t.Context(), "one", targets.SourceRegistration); !errors.Is(err, targets.ErrUnavailable) {
			t.Fatalf("dropping gave error %v", err)
		}
	},
	"a change of the target that is let through": func(t *testing.T, f *fixture) {
		if err := f.Unrecorded("one").Finish(t.Context(), 204); err != nil {
			t.Fatal(err)
		}
	},
	"one that is not answered": func(t *testing.T, f *fixture) {
		if err := f.Unrecorded("one").Finish(t.Context(), 500); err != nil {
			t.Fatal(err)
		}
	},
	"a change of the device that is let through": func(t *testing.T, f *fixture) {
		if err := f.UnrecordedDevice("device-1", true).Finish(t.Context(), 204); err != nil {
			t.Fatal(err)
		}
	},
}

// What nevisFIDO accepted while the store failed is not forgotten: the old key
// is not used, neither while it fails nor afterwards.
func TestUnrecordedChangeIsStale(t *testing.T) {
	for name, change := range unrecorded {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			f.learn(t, nil)
			f.readOnly()
			change(t, f)
			f.mustState(t, targets.Stale)
			reloaded := newFixture()
			reloaded.Store, reloaded.store, reloaded.Doubts = f.store, f.store, f.Doubts
			reloaded.mustState(t, targets.Stale)
			withFault(f, storetest.Load, errFull)
			if _, err := f.Find(t.Context(), "one"); !errors.Is(err, targets.ErrUnavailable) {
				t.Errorf("Find gave error %v, want ErrUnavailable", err)
			}
			f.store.SetFault(nil)
			f.mustState(t, targets.Stale)
			if got := f.stored(t); got.State != targets.Stale {
				t.Errorf("others find it %s", got.State)
			}
			if n := f.Doubts.Len(); n != 0 {
				t.Errorf("%d changes are still remembered", n)
			}
			f.mustHaveSent(t, "stale unrecorded")
			f.learn(t, nil)
			f.mustState(t, targets.Active)
		})
	}
}

// The store is told without anybody asking for the target.
func TestUnrecordedChangeIsWrittenDown(t *testing.T) {
	for name, change := range unrecorded {
		t.Run(name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			f := newFixture()
			f.learn(t, nil)
			f.readOnly()
			defer f.Doubts.Attach(f.Directory)()
			change(t, f)
			f.store.SetFault(nil)
			eventually(t, func() bool { return f.Doubts.Len() == 0 })
			if got := f.stored(t); got.State != targets.Stale {
				t.Errorf("the record is %s", got.State)
			}
		})
	}
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

// A configuration may go while its store hangs, and another one come.
func TestAttach(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	f := newFixture()
	f.learn(t, nil)
	hanging := make(chan struct{}, 100)
	f.store.SetFault(func(ctx context.Context, op storetest.Op) error {
		if op != storetest.Update {
			return nil
		}
		hanging <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	if err := f.Unrecorded("one").Finish(t.Context(), 204); err != nil {
		t.Fatal(err)
	}
	detach := f.Doubts.Attach(f.Directory)
	<-hanging
	detach()
	detach() // does nothing
	if n := f.Doubts.Len(); n != 1 {
		t.Errorf("%d changes are remembered", n)
	}
	f.store.SetFault(nil)
	first, second := f.Doubts.Attach(f.Directory), f.Doubts.Attach(f.Directory)
	first()
	eventually(t, func() bool { return f.Doubts.Len() == 0 })
	second()
	if got := f.stored(t); got.State != targets.Stale {
		t.Errorf("the record is %s", got.State)
	}
}

// What nevisFIDO refused has not happened.
func TestRefusedChangeIsNoDoubt(t *testing.T) {
	f := newFixture()
	f.learn(t, nil)
	f.readOnly()
	f.events = nil
	p, device := f.Unrecorded("one"), f.UnrecordedDevice("device-1", false)
	f.mustState(t, targets.Stale)
	if err := errors.Join(p.Finish(t.Context(), 401), device.Finish(t.Context(), 404)); err != nil {
		t.Fatal(err)
	}
	f.mustState(t, targets.Active)

	// One of two was accepted.
	first, second := f.Unrecorded("one"), f.Unrecorded("one")
	if err := errors.Join(first.Finish(t.Context(), 204), second.Finish(t.Context(), 401)); err != nil {
		t.Fatal(err)
	}
	f.mustState(t, targets.Stale)
}

// What is certain ends a doubt, and is not overwritten by it later.
func TestCertaintyEndsDoubt(t *testing.T) {
	f := newFixture()
	f.learn(t, nil)
	f.readOnly()
	unrecorded["a registration with another key"](t, f)
	f.store.SetFault(nil)
	f.learn(t, func(desc *nevisfido.TargetDescription) { desc.EncryptionKey = publicJWK(2) })
	if got := f.mustState(t, targets.Active); got.Thumbprint != thumbprint(2) || f.Doubts.Len() != 0 {
		t.Errorf("%d doubts, found %+v", f.Doubts.Len(), got)
	}

	f.readOnly()
	unrecorded["a change of the target that is let through"](t, f)
	f.store.SetFault(nil)
	f.modify(t, f.jws(map[string]any{"name": "x"}), 204)
	f.mustState(t, targets.Stale) // the name says nothing of the key
	f.modify(t, forged(f, map[string]any{"name": "x"}), 401)
	f.mustState(t, targets.Stale)

	f.readOnly()
	unrecorded["a change of the target that is let through"](t, f)
	f.store.SetFault(nil)
	p, err := f.BeginDelete(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Finish(t.Context(), 204); err != nil {
		t.Fatal(err)
	}
	f.mustBeUnknown(t)
}

// A key source with an older copy does not bring back what has changed.
func TestUnrecordedChangeOfUnknownTarget(t *testing.T) {
	s := found(1)
	f := newFixture(named(s)...)
	f.readOnly()
	unrecorded["a change of the target that is let through"](t, f)
	f.mustState(t, targets.Stale)
	f.store.SetFault(nil)
	f.mustState(t, targets.Stale)
	if s.asked != 0 {
		t.Errorf("the source was asked %d times", s.asked)
	}
	s.live = true
	f.mustState(t, targets.Active)

	none := newFixture()
	none.readOnly()
	unrecorded["a change of the target that is let through"](t, none)
	none.mustBeUnknown(t)
	none.store.SetFault(nil)
	none.mustBeUnknown(t)
}

// An address that is gone stays so, although the store cannot be told.
func TestUnrecordedQuarantine(t *testing.T) {
	for _, changed := range []bool{false, true} {
		f := newFixture()
		f.learn(t, nil)
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
		f.mustState(t, targets.Expired)
		if got := f.stored(t); got.State != targets.Expired {
			t.Errorf("others find it %s", got.State)
		}
		f.modify(t, f.jws(map[string]any{"target": "address-2"}), 204)
		f.mustState(t, targets.Active)
	}
}

// The signature that our key does not verify was accepted, which cannot be
// recorded: there was no mark either.
func TestAcceptedForgeryWithStoreDown(t *testing.T) {
	f := newFixture()
	f.learn(t, nil)
	p, err := f.BeginModify(t.Context(), "one", forged(f, newKey(1)))
	if err != nil {
		t.Fatal(err)
	}
	f.readOnly()
	if err := p.Finish(t.Context(), 204); !errors.Is(err, targets.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	f.mustState(t, targets.Stale)
}

// Where there is no room any more everything is in doubt that is not certain
// since.
func TestMoreDoubtsThanRoom(t *testing.T) {
	f := newFixture()
	f.learn(t, nil)
	f.readOnly()
	long := strings.Repeat("x", 1<<20)
	for i := range 17 {
		if full := i >= 15; f.Doubts.Full() != full {
			t.Errorf("after %d MiB full is %t", i, !full)
		}
		_ = f.Unrecorded(fmt.Sprint(i, long)).Finish(t.Context(), 204)
	}
	if !f.Doubts.Overflowed() {
		t.Fatal("there is room for all")
	}
	f.mustState(t, targets.Stale)
	f.store.SetFault(nil)
	f.mustState(t, targets.Stale)
	if got := f.stored(t); got.State != targets.Stale {
		t.Errorf("others find it %s", got.State)
	}
	f.now = f.now.Add(time.Second)
	f.learn(t, nil)
	f.mustState(t, targets.Active)

	source := newFixture(named(found(1))...)
	source.Doubts = f.Doubts
	source.mustState(t, targets.Stale) // its copy may be older
}

// One sidecar that lets changes through while the store fails: a record that it
// finds usable agrees with nevisFIDO.
func TestUnrecordedHistories(t *testing.T) {
	active, total := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		h.f[1] = h.f[0]
		h.lenient, h.load = true, func() (*targets.Target, error) {
			return h.f[0].Find(t.Context(), h.id())
		}
		h.create()
		steps := []func(){
			h.begin, h.begin, h.decideOne, h.decideOne, h.decideOne, h.finish, h.finish, h.finish, h.pass, h.recreate,
			func() { rapid.SampledFrom([]func(){h.beginDelete, h.changeDevice, h.create}).Draw(t, "rare step")() },
			func() { h.broken = rapid.IntRange(0, 2).Draw(t, "broken") == 0 },
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			rapid.SampledFrom(steps).Draw(t, "step")()
			total++
			if h.check() {
				active++
			}
		}
	})
	if active < total/10 {
		t.Errorf("only %d of %d steps left a usable record: the histories say little", active, total)
	}
}

// What changes while an earlier change is written down is not taken for that.
func TestChangeWhileDoubtIsWritten(t *testing.T) {
	f := newFixture()
	f.learn(t, nil)
	f.readOnly()
	unrecorded["a change of the target that is let through"](t, f)
	f.store.SetFault(func(_ context.Context, op storetest.Op) error {
		if op == storetest.Written {
			return f.Unrecorded("one").Finish(t.Context(), 204)
		}
		return nil
	})
	f.learn(t, nil)
	f.store.SetFault(nil)
	if n := f.Doubts.Len(); n != 1 {
		t.Errorf("%d changes are remembered", n)
	}
	f.mustState(t, targets.Stale)
}

// Of a change that the store was told of, and another one beside it that it was
// not told of, nobody knows which nevisFIDO made first.
func TestUnrecordedChangeBesideAnother(t *testing.T) {
	for name, change := range unrecorded {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			f.learn(t, nil)
			p, err := f.BeginModify(t.Context(), "one", f.jws(map[string]any{
				"name": "tablet", "target": "address-2", "dispatcher": "fcm",
				"encryptionKey": string(publicJWK(2)), "signatureKey": string(signingKeys[1].JWK()),
			}))
			if err != nil {
				t.Fatal(err)
			}
			f.readOnly()
			change(t, f)
			f.store.SetFault(nil)
			if err := p.Finish(t.Context(), 204); err != nil {
				t.Fatal(err)
			}
			f.mustState(t, targets.Stale)
			if got := f.stored(t); got.State != targets.Stale {
				t.Errorf("others find it %s", got.State)
			}
		})
	}
}

// Addresses that are gone take no room from changes, and put nothing in doubt.
func TestMoreQuarantinesThanRoom(t *testing.T) {
	f := newFixture()
	f.learn(t, nil)
	f.readOnly()
	long := strings.Repeat("x", 1<<20)
	for i := range 18 {
		gone := &targets.Target{Namespace: "bank", ID: fmt.Sprint(i, long), Address: "address-2"}
		if err := f.Expire(t.Context(), gone); !errors.Is(err, targets.ErrUnavailable) {
			t.Fatalf("expiring gave error %v", err)
		}
	}
	if !f.Doubts.Full() || f.Doubts.Overflowed() {
		t.Errorf("full is %t, overflowed is %t", f.Doubts.Full(), f.Doubts.Overflowed())
	}
	f.mustState(t, targets.Active)
}

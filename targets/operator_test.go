package targets_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

// block blocks target "one", some time after what happened before.
func (f *fixture) block(t *testing.T) {
	t.Helper()
	f.now, f.events = f.now.Add(time.Second), nil
	if changed, err := f.Block(t.Context(), "one"); err != nil || !changed {
		t.Fatalf("blocking: %t, error %v", changed, err)
	}
	f.mustHaveSent(t, "blocked")
}

// Whatever becomes of a target that stays at nevisFIDO, only an operator lifts
// a block.
func TestBlockStays(t *testing.T) {
	for name, happens := range map[string]func(*fixture){
		"nothing":                      func(*fixture) {},
		"blocked again":                func(f *fixture) { _, _ = f.Block(t.Context(), "one") },
		"another key":                  func(f *fixture) { f.modify(t, f.jws(newKey(1)), 204) },
		"refused":                      func(f *fixture) { f.modify(t, f.jws(newKey(1)), 401) },
		"not answered":                 func(f *fixture) { f.modify(t, f.jws(newKey(1)), 500) },
		"unreadable, accepted":         func(f *fixture) { f.modify(t, nil, 204) },
		"forged, accepted":             func(f *fixture) { f.modify(t, forged(f, newKey(1)), 204) },
		"registered again":             func(f *fixture) { f.learn(t, nil) },
		"registered again, unreadable": func(f *fixture) { _ = f.Invalidate(t.Context(), "one", targets.SourceCreate) },
		"the address is gone":          func(f *fixture) { f.expire(t) },
		"the device changed":           func(f *fixture) { finish(t, f.beginDevice(t, false), 204) },
		"registered again while the store fails": func(f *fixture) {
			f.readOnly()
			_ = f.create(t, nevisfido.TargetDescription{EncryptionKey: publicJWK(1)})
			f.mustState(t, targets.Blocked)
			f.flush(t)
		},
		"modified while the store fails": func(f *fixture) {
			f.readOnly()
			modifyUnrecorded(t, f, 204)
			f.flush(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, sources := range [][]targets.NamedSource{nil, named(&source{live: true, target: found(2).target})} {
				f := learned(t, sources...)
				f.block(t)
				happens(f)
				f.mustState(t, targets.Blocked)
				f.another().mustState(t, targets.Blocked)
				f.events = nil
				if changed, err := f.Unblock(t.Context(), "one"); err != nil || !changed {
					t.Errorf("unblocking: %t, error %v", changed, err)
				}
				f.mustHaveSent(t, "unblocked")
				if record, err := f.Find(t.Context(), "one"); err == nil && record.State() == targets.Blocked {
					t.Error("it is still blocked")
				}
			}
		})
	}
}

// A target that was unsure before is no surer after a block.
func TestUnblockedAsBefore(t *testing.T) {
	f := learned(t)
	f.modify(t, f.jws(newKey(1)), 500)
	f.block(t)
	_ = must(f.Unblock(t.Context(), "one"))
	f.mustState(t, targets.Stale)
	f.modify(t, f.jws(newKey(1)), 204)
	f.mustHaveKey(t, targets.Active, 1)
}

// A block between the beginning and the end of a change stays, and the change is
// applied.
func TestBlockDuringAChange(t *testing.T) {
	f := learned(t)
	c := must(f.BeginModify(t.Context(), "one", f.jws(newKey(1))))
	f.block(t)
	finish(t, c, 204)
	f.mustState(t, targets.Blocked)
	_ = must(f.Unblock(t.Context(), "one"))
	f.mustHaveKey(t, targets.Active, 1)
}

// Ids are not used again, so a target that is gone leaves nothing.
func TestBlockGoesWithTheTarget(t *testing.T) {
	for name, end := range map[string]func(*fixture){
		"deleted":    func(f *fixture) { finish(t, must(f.BeginDelete(t.Context(), "one")), 204) },
		"its device": func(f *fixture) { finish(t, f.beginDevice(t, true), 204) },
		"dropped":    func(f *fixture) { _ = f.Drop(t.Context(), "one") },
		"forgotten":  func(f *fixture) { _ = f.Forget(t.Context(), "one") },
	} {
		f := learned(t)
		f.block(t)
		if end(f); len(f.store.Dump()) != len(new(kvtest.Memory).Dump()) {
			t.Errorf("%s: there is %s", name, f.store.Dump())
		}
		f.learn(t, nil)
		f.mustState(t, targets.Active)
	}
}

func TestOperatorsActs(t *testing.T) {
	acts := map[string]func(*fixture) (bool, error){
		"block":   func(f *fixture) (bool, error) { return f.Block(t.Context(), "one") },
		"unblock": func(f *fixture) (bool, error) { return f.Unblock(t.Context(), "one") },
		"forget":  func(f *fixture) (bool, error) { return false, f.Forget(t.Context(), "one") },
	}
	for name, act := range acts {
		f := newFixture()
		if changed, err := act(f); changed || !errors.Is(err, targets.ErrNotFound) {
			t.Errorf("%s of an unknown target: %t, error %v", name, changed, err)
		}
		f.learn(t, nil)
		before := f.store.Dump()
		f.readOnly()
		if changed, err := act(f); name != "unblock" && (changed || !errors.Is(err, targets.ErrUnavailable)) {
			t.Errorf("%s where the store cannot be written: %t, error %v", name, changed, err)
		}
		if f.mustHaveSent(t); string(before) != string(f.store.Dump()) {
			t.Errorf("%s: the store changed", name)
		}
	}
	f := learned(t)
	if changed, err := f.Unblock(t.Context(), "one"); changed || err != nil {
		t.Errorf("unblocking what is not blocked: %t, error %v", changed, err)
	}
	if err := f.Forget(t.Context(), "one"); err != nil {
		t.Error(err)
	}
	f.mustHaveSent(t, "forgotten")
	f.mustBeUnknown(t)
}

// What only a key source knows is learned, and blocked.
func TestBlockOfWhatASourceKnows(t *testing.T) {
	f := newFixture(named(found(1))...)
	if changed, err := f.Block(t.Context(), "one"); !changed || err != nil {
		t.Fatalf("blocking: %t, error %v", changed, err)
	}
	f.mustHaveSent(t, "learned", "blocked")
	f.mustState(t, targets.Blocked)
}

// An older release must not send to a blocked target, and reads all others.
func TestSchemaOfABlockedRecord(t *testing.T) {
	f := learned(t)
	if dump := string(f.store.Dump()); !strings.Contains(dump, `"schema":2,`) {
		t.Errorf("not blocked: %s", dump)
	}
	f.block(t)
	if dump := string(f.store.Dump()); !strings.Contains(dump, `"schema":3,`) || strings.Contains(dump, "min_schema") {
		t.Errorf("blocked: %s", dump)
	}
	_ = must(f.Unblock(t.Context(), "one"))
	if dump := string(f.store.Dump()); !strings.Contains(dump, `"schema":2,`) {
		t.Errorf("unblocked: %s", dump)
	}
	f.events = nil
	f.rewrite(t, `"schema":2`, `"schema":4,"min_schema":2,"colour":"blue"`)
	f.block(t)
	if dump := string(f.store.Dump()); !strings.Contains(dump, `"schema":4,"min_schema":3`) || !strings.Contains(dump, `"colour":"blue"`) {
		t.Errorf("a newer release's record, blocked: %s", dump)
	}
}

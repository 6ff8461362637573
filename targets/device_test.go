package targets_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/storetest"
)

// changeDevice takes a change of a device through to nevisFIDO's answer.
func (f *fixture) changeDevice(t *testing.T, device string, deletes bool, status int) {
	t.Helper()
	p, err := f.BeginDevice(t.Context(), device, deletes)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Finish(t.Context(), status); err != nil {
		t.Fatal(err)
	}
}

// What nevisFIDO answers decides about all targets of a device, and about no
// other one.
func TestChangeOfDevice(t *testing.T) {
	for _, deletes := range []bool{false, true} {
		for status, want := range map[int]string{
			200: "new", 204: "new", 400: "old", 401: "old", 404: "old", 0: "stale", 302: "stale", 500: "stale", 504: "stale",
		} {
			f := newFixture()
			f.learn(t, nil)
			other := &nevisfido.TargetDescription{DeviceID: "device-2", EncryptionKey: publicJWK(1)}
			if err := f.Learn(t.Context(), other, nevisfido.CreatedTarget{ID: "two"}, targets.SourceCreate); err != nil {
				t.Fatal(err)
			}
			f.events = nil
			before := f.find(t)
			f.changeDevice(t, "", deletes, status)
			f.changeDevice(t, "device-3", deletes, status)
			p, err := f.BeginDevice(t.Context(), "device-1", deletes)
			if err != nil {
				t.Fatal(err)
			}
			f.mustState(t, targets.Stale) // before nevisFIDO sees it
			if err := p.Finish(t.Context(), status); err != nil {
				t.Fatal(err)
			}
			switch {
			case want == "new" && deletes:
				f.mustHaveSent(t, "forgotten")
				f.mustBeUnknown(t)
			case want == "new":
				f.mustHaveSent(t, "stale device_modified")
				f.mustState(t, targets.Stale)
			case want == "stale":
				f.mustHaveSent(t, "stale unanswered")
				f.mustState(t, targets.Stale)
			default:
				f.mustHaveSent(t)
				if got := f.mustState(t, targets.Active); got.Thumbprint != before.Thumbprint || len(got.Marks)+len(got.Doubt) != 0 {
					t.Errorf("status %d: the record is not as it was: %+v", status, got)
				}
			}
			if record, err := f.Find(t.Context(), "two"); err != nil || record.State != targets.Active {
				t.Errorf("the other device's target is %+v, error %v", record, err)
			}
		}
	}
}

// A process that dies while nevisFIDO is asked leaves no target usable.
func TestCrashDuringChangeOfDevice(t *testing.T) {
	for _, deletes := range []bool{false, true} {
		f := newFixture()
		f.learn(t, nil)
		if _, err := f.BeginDevice(t.Context(), "device-1", deletes); err != nil {
			t.Fatal(err)
		}
		f.now = f.now.Add(time.Hour)
		f.mustState(t, targets.Stale)
	}
}

// crowded is a store whose list of a device's targets was not completed by
// some process that died.
type crowded struct{ targets.Store }

func (crowded) OfDevice(context.Context, string, string) ([]string, error) {
	return []string{"nobody", "one"}, nil
}

func TestChangeOfDeviceComparesTheDevice(t *testing.T) {
	for _, deletes := range []bool{false, true} {
		f := newFixture()
		f.learn(t, nil)
		before := f.store.Dump()
		f.Store = crowded{f.store}
		f.changeDevice(t, "device-2", deletes, 204)
		if !bytes.Equal(before, f.store.Dump()) {
			t.Errorf("the record of another device's target is %+v", f.find(t))
		}
	}
}

func TestChangeOfDeviceCannotBeMarked(t *testing.T) {
	for _, op := range []storetest.Op{storetest.OfDevice, storetest.Write} {
		f := newFixture()
		f.learn(t, nil)
		withFault(f, op, errors.New("no space left"))
		if _, err := f.BeginDevice(t.Context(), "device-1", true); !errors.Is(err, targets.ErrUnavailable) {
			t.Errorf("%s fails: error %v, want ErrUnavailable", op, err)
		}
		f.store.SetFault(nil)
		f.mustState(t, targets.Active)
		f.mustHaveSent(t)
		unlock, err := f.Lock(t.Context(), "one")
		if err != nil {
			t.Fatal(err)
		}
		unlock()
	}
}

// One of the device's targets is marked when the store begins to fail: it is
// restored.
func TestChangeOfDeviceMarkedByHalf(t *testing.T) {
	f := newFixture()
	f.learn(t, nil)
	second := &nevisfido.TargetDescription{DeviceID: "device-1", EncryptionKey: publicJWK(1)}
	if err := f.Learn(t.Context(), second, nevisfido.CreatedTarget{ID: "two"}, targets.SourceCreate); err != nil {
		t.Fatal(err)
	}
	writes := 0
	f.store.SetFault(func(_ context.Context, op storetest.Op) error {
		if op == storetest.Write {
			if writes++; writes == 2 {
				return errors.New("no space left")
			}
		}
		return nil
	})
	if _, err := f.BeginDevice(t.Context(), "device-1", false); !errors.Is(err, targets.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	for _, id := range []string{"one", "two"} {
		if record, err := f.Find(t.Context(), id); err != nil || record.State != targets.Active {
			t.Errorf("%s is %+v, error %v", id, record, err)
		}
	}
}

func TestChangeOfDeviceThatCannotBeRecordedStaysStale(t *testing.T) {
	for _, deletes := range []bool{false, true} {
		for _, op := range []storetest.Op{storetest.OfDevice, storetest.Write} {
			f := newFixture()
			f.learn(t, nil)
			p, err := f.BeginDevice(t.Context(), "device-1", deletes)
			if err != nil {
				t.Fatal(err)
			}
			withFault(f, op, errors.New("no space left"))
			if err := p.Finish(t.Context(), 204); !errors.Is(err, targets.ErrUnavailable) {
				t.Errorf("%s fails: error %v, want ErrUnavailable", op, err)
			}
			if op == storetest.Write {
				f.mustState(t, targets.Stale)
			}
		}
	}
}

// A target that the device gets while nevisFIDO is asked is not left out.
func TestTargetLearnedDuringChangeOfDevice(t *testing.T) {
	f := newFixture()
	p, err := f.BeginDevice(t.Context(), "device-1", true)
	if err != nil {
		t.Fatal(err)
	}
	f.learn(t, nil)
	if err := p.Finish(t.Context(), 204); err != nil {
		t.Fatal(err)
	}
	f.mustBeUnknown(t)
}

// A modification that was under way when the device changed does not make its
// target usable again.
func TestDeviceChangedDuringChange(t *testing.T) {
	for _, status := range []int{204, 401, 500} {
		f := newFixture()
		f.learn(t, nil)
		p, err := f.BeginModify(t.Context(), "one", f.jws(map[string]any{"name": "x"}))
		if err != nil {
			t.Fatal(err)
		}
		f.changeDevice(t, "device-1", false, 204)
		if err := p.Finish(t.Context(), status); err != nil {
			t.Fatal(err)
		}
		f.mustState(t, targets.Stale)
	}
}

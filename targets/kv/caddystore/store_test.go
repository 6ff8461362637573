package caddystore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/seal"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/storetest"
)

// newStore returns a store that waits long: these tests are not about time.
func newStore(storage certmagic.Storage) *Store {
	s := &Store{Timeout: caddy.Duration(time.Minute)}
	s.start(storage)
	return s
}

func TestStoreKeepsTheContract(t *testing.T) {
	t.Run("hostile storage", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) targets.Store { return newStore(newHostileStorage(t)) })
	})
	t.Run("file storage", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) targets.Store {
			return newStore(&certmagic.FileStorage{Path: t.TempDir()})
		})
	})
}

func TestUnreadableRecordIsUnavailable(t *testing.T) {
	storage := newHostileStorage(t)
	storetest.RunUnreadable(t, newStore(storage), func(ref targets.Ref, data []byte) {
		storage.put(targetKey(ref), data)
	})
}

func TestTwoReleases(t *testing.T) {
	for _, r := range []*seal.Ring{nil, ring(t, 1)} {
		storage := newHostileStorage(t)
		s := sealed(storage, r)
		storetest.RunVersions(t, s, func(ref targets.Ref) []byte {
			record, _, err := r.Open(storage.get(targetKey(ref)), targetKey(ref))
			if err != nil {
				t.Fatal(err)
			}
			return record
		}, func(ref targets.Ref, data []byte) {
			storage.put(targetKey(ref), r.Seal(data, targetKey(ref)))
		})
	}
}

func TestUnreadableDeviceIsUnavailable(t *testing.T) {
	for name, data := range map[string]string{
		"empty":          ``,
		"not JSON":       `[`,
		"another device": `{"schema":1,"device_id":"device-2","targets":["x"]}`,
		"another tenant": `{"schema":1,"namespace":"x","device_id":"device-1","targets":["x"]}`,
		"newer release":  `{"schema":2,"device_id":"device-1","targets":["x"]}`,
		"unknown member": `{"schema":1,"device_id":"device-1","ids":["x"]}`,
		"too long":       `{"schema":1,"device_id":"device-1","targets":["x"]}` + strings.Repeat(" ", maxDevice),
	} {
		t.Run(name, func(t *testing.T) {
			storage := newHostileStorage(t)
			s := newStore(storage)
			storage.put(deviceKey(targets.Ref{ID: "device-1"}), []byte(data))
			if ids, err := s.OfDevice(t.Context(), "", "device-1", "jeff"); err == nil {
				t.Errorf("the device has %q", ids)
			}
			ref := targets.Ref{ID: "one"}
			if err := s.Update(t.Context(), ref, to(storetest.Target(ref))); err == nil {
				t.Error("a target was stored that its device does not list")
			}
			if _, err := s.Load(t.Context(), ref); !errors.Is(err, targets.ErrNotFound) {
				t.Errorf("loading gave %v, want ErrNotFound", err)
			}
		})
	}
}

func TestOutageIsNeverNotFound(t *testing.T) {
	down := errors.New("connection refused")
	storage := newHostileStorage(t)
	s := newStore(storage)
	storage.setFault(func(int, string, string) error { return down })
	ref := targets.Ref{ID: "one"}
	if _, err := s.Load(t.Context(), ref); !errors.Is(err, down) || errors.Is(err, targets.ErrNotFound) {
		t.Errorf("Load returned %v", err)
	}
	if _, err := s.OfDevice(t.Context(), "", "device-1", "jeff"); !errors.Is(err, down) {
		t.Errorf("OfDevice returned %v", err)
	}
	err := s.Update(t.Context(), ref, func(*targets.Target) (*targets.Target, error) {
		t.Error("the change was asked for, though the record is not known")
		return nil, nil
	})
	if !errors.Is(err, down) {
		t.Errorf("Update returned %v", err)
	}
	storage.setFault(nil)
	if _, err := s.Load(t.Context(), ref); !errors.Is(err, targets.ErrNotFound) {
		t.Errorf("after the outage Load returned %v, want ErrNotFound", err)
	}
}

func TestPanicOfStorageIsAnError(t *testing.T) {
	storage := newHostileStorage(t)
	s := newStore(storage)
	storage.setFault(func(int, string, string) error { panic("secret detail") })
	_, err := s.Load(t.Context(), targets.Ref{ID: "one"})
	if err == nil || errors.Is(err, targets.ErrNotFound) || strings.Contains(err.Error(), "secret") {
		t.Errorf("Load returned %v", err)
	}
}

func TestSlowStorageTimesOut(t *testing.T) {
	storage := newHostileStorage(t)
	s := newStore(storage)
	s.Timeout = caddy.Duration(time.Millisecond)
	answer := make(chan struct{})
	storage.setFault(func(int, string, string) error { <-answer; return nil })
	ref := targets.Ref{ID: "one"}
	if _, err := s.Load(t.Context(), ref); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Load returned %v, want a timeout", err)
	}
	if err := s.Update(t.Context(), ref, to(nil)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Update returned %v, want a timeout", err)
	}
	close(answer)
	s.Timeout = caddy.Duration(time.Minute)
	if _, err := s.Load(t.Context(), ref); !errors.Is(err, targets.ErrNotFound) {
		t.Errorf("after the storage came back Load returned %v, want ErrNotFound", err)
	}
}

func TestStuckCallsAreBounded(t *testing.T) {
	storage := newHostileStorage(t)
	s := newStore(storage)
	answer := make(chan struct{})
	t.Cleanup(func() { close(answer) })
	started := make(chan struct{}, maxCalls)
	storage.setFault(func(int, string, string) error {
		started <- struct{}{}
		<-answer
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range maxCalls {
		wg.Go(func() {
			if _, err := s.Load(ctx, targets.Ref{ID: fmt.Sprint(i)}); !errors.Is(err, context.Canceled) {
				t.Errorf("a stuck call returned %v", err)
			}
		})
	}
	for range maxCalls {
		<-started
	}
	cancel()
	wg.Wait()
	s.Timeout = caddy.Duration(time.Millisecond)
	if _, err := s.Load(t.Context(), targets.Ref{ID: "one more"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call too many returned %v", err)
	}
	if len(started) > 0 {
		t.Error("a call too many reached the storage")
	}
}

// A write that was given up may happen later. Nobody else writes before that.
func TestLateWriteDoesNotOverwrite(t *testing.T) {
	storage := newHostileStorage(t)
	s := newStore(storage)
	ref := targets.Ref{ID: "one"}
	if err := s.Update(t.Context(), ref, to(storetest.Target(ref))); err != nil {
		t.Fatal(err)
	}
	writing, goOn := make(chan struct{}), make(chan struct{})
	storage.setFault(func(_ int, op, _ string) error {
		if op == "store" {
			close(writing)
			<-goOn
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error)
	go func() { gaveUp <- s.Update(ctx, ref, rename("first")) }()
	<-writing
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("the update that was given up returned %v", err)
	}
	storage.setFault(nil)

	// A second instance, as after a reload, waits for its turn.
	other := newStore(storage)
	other.Timeout = caddy.Duration(time.Millisecond)
	if err := other.Update(t.Context(), ref, rename("too early")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an update beside the stuck one returned %v", err)
	}
	close(goOn)
	if err := newStore(storage).Update(t.Context(), ref, func(current *targets.Target) (*targets.Target, error) {
		if current.Name != "first" {
			t.Errorf("the next update sees %q, want the late write", current.Name)
		}
		current.Name = "second"
		return current, nil
	}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Load(t.Context(), ref); err != nil || got.Name != "second" {
		t.Errorf("in the end there is %+v, error %v", got, err)
	}
}

func TestInstancesOfOneProcessDoNotRace(t *testing.T) {
	storage := newHostileStorage(t)
	instances := []*Store{newStore(storage), newStore(storage)}
	ref := targets.Ref{ID: "one"}
	record := storetest.Target(ref)
	record.Modified = 0
	if err := instances[0].Update(t.Context(), ref, to(record)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			err := instances[i%2].Update(t.Context(), ref, func(current *targets.Target) (*targets.Target, error) {
				current.Modified++
				return current, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, err := instances[0].Load(t.Context(), ref); err != nil || got.Modified != 100 {
		t.Errorf("after 100 increments there is %+v, error %v", got, err)
	}
}

func TestEqualRecordIsNotWritten(t *testing.T) {
	storage := newHostileStorage(t)
	s := newStore(storage)
	ref := targets.Ref{ID: "one"}
	if err := s.Update(t.Context(), ref, to(storetest.Target(ref))); err != nil {
		t.Fatal(err)
	}
	storage.setFault(func(_ int, op, _ string) error {
		if op != "load" {
			t.Errorf("%s was called", op)
		}
		return nil
	})
	if err := s.Update(t.Context(), ref, to(storetest.Target(ref))); err != nil {
		t.Error(err)
	}
}

func TestStaleReadGivesTheOlderRecord(t *testing.T) {
	storage := newHostileStorage(t)
	s := newStore(storage)
	ref := targets.Ref{ID: "one"}
	if err := s.Update(t.Context(), ref, to(storetest.Target(ref))); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), ref, rename("new")); err != nil {
		t.Fatal(err)
	}
	storage.stale = true
	got, err := s.Load(t.Context(), ref)
	if err != nil || got.Name != storetest.Target(ref).Name || got.Thumbprint == "" {
		t.Errorf("a stale read gave %+v, error %v", got, err)
	}
}

// Wherever the storage fails for good, as in a crash, each record is the old
// or the new one, and each device lists all its targets.
func TestCrashLeavesDevicesComplete(t *testing.T) {
	refs := []targets.Ref{{ID: "one"}, {ID: "two"}}
	steps := []struct {
		ref    targets.Ref
		change targets.Edit
	}{
		{refs[0], to(storetest.Target(refs[0]))},
		{refs[1], to(storetest.Target(refs[1]))},
		{refs[0], func(current *targets.Target) (*targets.Target, error) {
			if current == nil {
				return nil, nil
			}
			current.DeviceID = "device-2"
			return current, nil
		}},
		{refs[1], to(nil)},
		{refs[0], to(nil)},
	}
	for _, happens := range []bool{false, true} { // does the last call happen, though it reports an error?
		crashed := true
		for at := 1; crashed; at++ {
			storage := newHostileStorage(t)
			s := newStore(storage)
			crashed = false
			storage.setFault(func(n int, op, key string) error {
				if n < at {
					return nil
				}
				crashed = true
				if n == at && happens && op == "delete" {
					storage.mu.Lock()
					delete(storage.values, key)
					storage.mu.Unlock()
				}
				return errors.New("crashed")
			})
			for _, step := range steps {
				_ = s.Update(t.Context(), step.ref, step.change)
			}
			storage.setFault(nil)
			for _, ref := range refs {
				record, err := s.Load(t.Context(), ref)
				if errors.Is(err, targets.ErrNotFound) {
					continue
				}
				if err != nil {
					t.Fatalf("crash at call %d: %v", at, err)
				}
				ids, err := s.OfDevice(t.Context(), "", record.DeviceID, "jeff")
				if err != nil || !slices.Contains(ids, ref.ID) {
					t.Errorf("crash at call %d: device %q lists %q without %q, error %v", at, record.DeviceID, ids, ref.ID, err)
				}
			}
		}
	}
}

func to(next *targets.Target) targets.Edit {
	return func(*targets.Target) (*targets.Target, error) { return next, nil }
}

func rename(name string) targets.Edit {
	return func(current *targets.Target) (*targets.Target, error) {
		current.Name = name
		return current, nil
	}
}

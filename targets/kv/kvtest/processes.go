package kvtest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// elsewhere is a backend as another process has it: the locks of this process
// do not hold there.
type elsewhere struct {
	kv.Backend
	process int
}

func (e elsewhere) Location() string { return fmt.Sprint(e.process, " ", e.Backend.Location()) }

func (s *store) inProcess(i int) *store { return newStore(s.t, elsewhere{s.backend, i}, s.ring) }

func processes(t *testing.T, s *store) {
	const n, each = 8, 5
	ref := targets.Ref{ID: "counter"}
	record := Target(ref)
	record.Modified = 0
	put(t, s, ref, record)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			other := s.inProcess(i)
			for range each {
				update(t, other, ref, func(current *targets.Target) *targets.Target {
					current.Modified++
					return current
				})
			}
		})
	}
	wg.Wait()
	if got := load(t, s, ref); got.Modified != n*each {
		t.Errorf("%d of %d increments are left", got.Modified, n*each)
	}
}

// movingBetweenDevices has several processes move one target at once. Whenever
// they are done, its device lists it.
func movingBetweenDevices(t *testing.T, s *store) {
	ref := targets.Ref{ID: "moving"}
	put(t, s, ref, Target(ref))
	for round := range 20 {
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				update(t, s.inProcess(i), ref, func(current *targets.Target) *targets.Target {
					current.DeviceID, current.Modified = fmt.Sprint("device-", (round+i)%2), int64(100*round+i)
					return current
				})
			})
		}
		wg.Wait()
		device := load(t, s, ref).DeviceID
		ids, err := s.OfDevice(t.Context(), "", device, "jeff")
		if err != nil || !slices.Contains(ids, ref.ID) {
			t.Fatalf("round %d: %s lists %q, error %v", round, device, ids, err)
		}
	}
}

// resealing tests the change of keys: nothing is lost, and what cannot be read
// is told of.
func resealing(t *testing.T, b kv.Backend) {
	old, both, next := newStore(t, b, Ring(t, 1)), newStore(t, b, Ring(t, 2, 1)), newStore(t, b, Ring(t, 2))
	const count = 20
	refs := make([]targets.Ref, 0, count)
	for i := range count {
		ref := targets.Ref{Namespace: "bank", ID: fmt.Sprint(i)}
		refs = append(refs, ref)
		put(t, old, ref, Target(ref))
	}
	damaged := targets.Ref{ID: "damaged"}
	old.writeRaw(damaged, []byte("damaged"))
	var reported []string
	n, err := both.Reseal(t.Context(), func(e *targets.RecordError) error {
		reported = append(reported, e.Hash)
		return nil
	})
	if err != nil || n != len(refs)+1 || !slices.Equal(reported, []string{damaged.Hash()}) {
		t.Errorf("resealed %d, reported %q, error %v", n, reported, err)
	}
	for _, ref := range refs {
		load(t, next, ref)
	}
	if ids, err := next.OfDevice(t.Context(), "bank", "device-1", "jeff"); err != nil || len(ids) != len(refs) {
		t.Errorf("the device has %q, error %v", ids, err)
	}
	stop := errors.New("stop")
	if _, err := both.Reseal(t.Context(), func(*targets.RecordError) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error %v, want that of the caller", err)
	}
	if err := both.Remove(t.Context(), damaged); err != nil {
		t.Fatal(err)
	}
	if n, err := both.Reseal(t.Context(), func(e *targets.RecordError) error { return e }); n != 0 || err != nil {
		t.Errorf("resealed %d again, error %v", n, err)
	}
}

func ofDeviceByUser(t *testing.T, s *store) {
	for _, user := range []string{"jeff", "ann", ""} {
		ref := targets.Ref{ID: "of " + user}
		record := Target(ref)
		record.Username = user
		put(t, s, ref, record)
	}
	for _, user := range []string{"jeff", "ann", ""} {
		ids, err := s.OfDevice(t.Context(), "", "device-1", user)
		if err != nil || !slices.Equal(ids, []string{"of " + user}) {
			t.Errorf("user %q has %q, error %v", user, ids, err)
		}
	}
	update(t, s, targets.Ref{ID: "of ann"}, func(current *targets.Target) *targets.Target {
		current.Username = "jeff"
		return current
	})
	mustBeOfDevice(t, s, "device-1", "of ann", "of jeff")
	if ids, err := s.OfDevice(t.Context(), "", "device-1", "ann"); err != nil || len(ids) != 0 {
		t.Errorf("the former user has %q, error %v", ids, err)
	}
}

// unreadableList damages the list of a device: it is unavailable, and no target
// is stored that its device does not list.
func unreadableList(t *testing.T, s *store) {
	ref := targets.Ref{ID: "one"}
	put(t, s, ref, Target(ref))
	var key kv.Key
	err := s.backend.Scan(t.Context(), kv.Devices, func(name string, _ *kv.Value) error {
		key = kv.Key{Kind: kv.Devices, Name: name}
		return nil
	})
	if err != nil || key.Name == "" {
		t.Fatalf("the list was not found: %v", err)
	}
	for name, text := range map[string]string{
		"empty":          ``,
		"not JSON":       `[`,
		"another device": `{"schema":2,"device_id":"device-2","username":"jeff","targets":{"x":"y"}}`,
		"another user":   `{"schema":2,"device_id":"device-1","username":"ann","targets":{"x":"y"}}`,
		"another tenant": `{"schema":2,"namespace":"x","device_id":"device-1","username":"jeff","targets":{"x":"y"}}`,
		"newer release":  `{"schema":3,"device_id":"device-1","username":"jeff","targets":{"x":"y"}}`,
		"no targets":     `{"schema":2,"device_id":"device-1","username":"jeff"}`,
		"unknown member": `{"schema":2,"device_id":"device-1","username":"jeff","targets":{"x":"y"},"ids":[]}`,
	} {
		set(t, s.backend, key, s.ring.Seal([]byte(text), s.backend.Place(key)))
		if ids, err := s.OfDevice(t.Context(), "", "device-1", "jeff"); err == nil {
			t.Errorf("%s: the device has %q", name, ids)
		}
		two := targets.Ref{ID: "two"}
		if err := s.Update(t.Context(), two, func(*targets.Target) (*targets.Target, error) { return Target(two), nil }); err == nil {
			t.Errorf("%s: a target was stored that its device does not list", name)
		}
		mustNotExist(t, s, two)
	}
	// The target itself can still be used and deleted.
	load(t, s, ref)
	update(t, s, ref, func(*targets.Target) *targets.Target { return nil })
	mustNotExist(t, s, ref)
}

package kvtest

import (
	"slices"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

func mustBeOfDevice(t *testing.T, s *store, deviceID string, want ...string) {
	t.Helper()
	got, err := s.OfDevice(t.Context(), "", deviceID, "jeff")
	if slices.Sort(want); err != nil || !slices.Equal(got, want) {
		t.Errorf("device %q has %q, error %v, want %q", deviceID, got, err, want)
	}
}

func ofDevice(t *testing.T, s *store) {
	refs := []targets.Ref{{ID: "one"}, {ID: "two"}, {ID: "three"}}
	for _, ref := range refs {
		put(t, s, ref, Target(ref))
	}
	mustBeOfDevice(t, s, "device-1", "one", "two", "three")
	change(t, s, refs[0], func(current *targets.Target) { current.Name = "the device stays" })
	change(t, s, refs[1], func(current *targets.Target) { current.DeviceID = "../device-2" })
	mustBeOfDevice(t, s, "device-1", "one", "three")
	mustBeOfDevice(t, s, "../device-2", "two")
	put(t, s, refs[2], nil)
	mustBeOfDevice(t, s, "device-1", "one")
	change(t, s, refs[0], func(current *targets.Target) { current.DeviceID = "" })
	mustBeOfDevice(t, s, "device-1")
	put(t, s, refs[1], nil)
	mustBeOfDevice(t, s, "../device-2")
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
	change(t, s, targets.Ref{ID: "of ann"}, func(current *targets.Target) { current.Username = "jeff" })
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
		if err := s.Update(t.Context(), two, To(Target(two))); err == nil {
			t.Errorf("%s: a target was stored that its device does not list", name)
		}
		mustNotExist(t, s, two)
	}
	// The target itself can still be used and deleted.
	load(t, s, ref)
	put(t, s, ref, nil)
	mustNotExist(t, s, ref)
}

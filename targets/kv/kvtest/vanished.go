package kvtest

import (
	"errors"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// vanished takes everything out of the storage, as if it were unmounted, then
// puts another one in its place, and brings it back in the end. A target is
// unavailable meanwhile, never unknown, and nothing is written.
func vanished(t *testing.T, s *store) {
	mustNotExist(t, s.inProcess(1), targets.Ref{ID: "nobody"}) // a new storage is empty
	mustNotExist(t, s, targets.Ref{ID: "nobody"})
	ref := targets.Ref{ID: "one"}
	put(t, s, ref, Target(ref))
	all := take(t, s.backend)
	mustBeGone := func(when string) {
		t.Helper()
		if _, err := s.Load(t.Context(), ref); err == nil || errors.Is(err, targets.ErrNotFound) {
			t.Errorf("%s: Load gave error %v", when, err)
		}
		if ids, err := s.OfDevice(t.Context(), "", "device-1", "jeff"); err == nil {
			t.Errorf("%s: the device has %q", when, ids)
		}
		for name, f := range map[string]func(targets.Edit) error{
			"Update": func(edit targets.Edit) error { return s.Update(t.Context(), ref, edit) },
			"Heal":   func(edit targets.Edit) error { return s.Heal(t.Context(), ref, edit) },
		} {
			err := f(func(*targets.Target) (*targets.Target, error) { return Target(ref), nil })
			if err == nil {
				t.Errorf("%s: %s stored a target", when, name)
			}
		}
		if _, err := s.Take(t.Context(), LinkID(time.Now().Add(time.Minute))); err == nil || errors.Is(err, shortlink.ErrNotFound) {
			t.Errorf("%s: Take gave error %v", when, err)
		}
	}
	mustBeGone("gone")
	for key := range all {
		if key.Kind == kv.Marker {
			set(t, s.backend, key, []byte("that of another storage"))
		}
	}
	mustBeGone("another one")
	take(t, s.backend)
	for key, data := range all {
		set(t, s.backend, key, data)
	}
	load(t, s, ref)
	mustBeOfDevice(t, s, "device-1", "one")
	mustNotExist(t, s, targets.Ref{ID: "nobody"})
}

// take removes all records, lists and the marker, and returns them.
func take(t *testing.T, b kv.Backend) map[kv.Key][]byte {
	t.Helper()
	all := make(map[kv.Key][]byte)
	for _, kind := range []kv.Kind{kv.Records, kv.Devices, kv.Marker} {
		err := b.Scan(t.Context(), kind, func(name string, v *kv.Value) error {
			all[kv.Key{Kind: kind, Name: name}] = v.Data
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for key := range all {
		if _, err := b.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

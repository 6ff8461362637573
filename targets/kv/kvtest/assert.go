package kvtest

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

func put(t *testing.T, s *store, ref targets.Ref, record *targets.Target) {
	t.Helper()
	update(t, s, ref, func(*targets.Target) *targets.Target { return record })
}

// To is the edit that replaces a record, or deletes it where next is nil.
func To(next *targets.Target) targets.Edit {
	return func(*targets.Target) (*targets.Target, error) { return next, nil }
}

func update(t *testing.T, s *store, ref targets.Ref, change func(*targets.Target) *targets.Target) {
	t.Helper()
	err := s.Update(t.Context(), ref, func(current *targets.Target) (*targets.Target, error) {
		return change(current), nil
	})
	if err != nil {
		t.Errorf("updating %.20q: %v", ref.ID, err)
	}
}

// change edits a record that has to be there.
func change(t *testing.T, s *store, ref targets.Ref, edit func(*targets.Target)) {
	t.Helper()
	update(t, s, ref, func(current *targets.Target) *targets.Target {
		if current == nil {
			t.Errorf("the record of %.20q is lost", ref.ID)
			return nil
		}
		edit(current)
		return current
	})
}

func load(t *testing.T, s *store, ref targets.Ref) *targets.Target {
	t.Helper()
	record, err := s.Load(t.Context(), ref)
	if err != nil {
		t.Fatalf("loading %.20q: %v", ref.ID, err)
	}
	return record
}

func mustNotExist(t *testing.T, s *store, ref targets.Ref) {
	t.Helper()
	if record, err := s.Load(t.Context(), ref); !errors.Is(err, targets.ErrNotFound) {
		t.Errorf("loading %.20q gave %v, error %v, want ErrNotFound", ref.ID, record, err)
	}
}

// mustBeUnavailable holds for a record that is there and cannot be read.
func mustBeUnavailable(t *testing.T, s *store, ref targets.Ref) {
	t.Helper()
	load := func() error { _, err := s.Load(t.Context(), ref); return err }
	for op, err := range map[string]error{
		"loading":     load(),
		"overwriting": s.Update(t.Context(), ref, To(Target(ref))),
		"deleting":    s.Update(t.Context(), ref, To(nil)),
		"afterwards":  load(),
	} {
		if err == nil || errors.Is(err, targets.ErrNotFound) {
			t.Errorf("an unreadable record, %s: %v", op, err)
		}
	}
}

// mustHeal replaces or deletes a record that cannot be read.
func mustHeal(t *testing.T, s *store, ref targets.Ref, next *targets.Target) {
	t.Helper()
	err := s.Heal(t.Context(), ref, func(current *targets.Target) (*targets.Target, error) {
		if current != nil {
			t.Errorf("a change of an unreadable record got %+v", current)
		}
		return next, nil
	})
	if err != nil {
		t.Errorf("healing %.40q: %v", ref.ID, err)
	}
	if next == nil {
		mustNotExist(t, s, ref)
		return
	}
	if got := load(t, s, ref); !reflect.DeepEqual(got, next) {
		t.Errorf("healed to %+v", got)
	}
	ids, err := s.OfDevice(t.Context(), ref.Namespace, next.DeviceID, "jeff")
	if err != nil || !slices.Contains(ids, ref.ID) {
		t.Errorf("the device has %q, error %v", ids, err)
	}
}

func mustNotHeal(t *testing.T, s *store, ref targets.Ref) {
	t.Helper()
	_, before := s.Load(t.Context(), ref)
	for op, err := range map[string]error{
		"loading":     before,
		"overwriting": s.Heal(t.Context(), ref, To(Target(ref))),
		"deleting":    s.Heal(t.Context(), ref, To(nil)),
	} {
		if !errors.Is(err, targets.ErrNewer) {
			t.Errorf("%s a newer release's record gave %v, want ErrNewer", op, err)
		}
	}
	if _, err := s.Load(t.Context(), ref); !errors.Is(err, targets.ErrNewer) {
		t.Errorf("the record of a newer release is gone: %v", err)
	}
}

package kvtest

import (
	"slices"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// FormerList is the list of "device-1" of the namespace "bank" as the release before
// kept it.
type FormerList struct {
	Put  func() // with the target "old"
	Bad  func() // puts one that cannot be read; nil where every one can
	Left func() bool
}

// Former holds a backend to kv.Former: lists of a former release, which did not tell
// users apart, are read, and replaced when the store is resealed.
func Former(t *testing.T, b kv.Backend, ring *kv.Ring, list FormerList) {
	s := newStore(t, b, ring)
	old, fresh := targets.Ref{Namespace: "bank", ID: "old"}, targets.Ref{Namespace: "bank", ID: "new"}
	record, err := targets.Encode(Target(old), old)
	if err != nil {
		t.Fatal(err)
	}
	list.Put()
	s.write(old, record)
	put(t, s, fresh, Target(fresh))
	check := func() {
		t.Helper()
		ids, err := s.OfDevice(t.Context(), "bank", "device-1", "jeff")
		if err != nil || !slices.Equal(ids, []string{"new", "old"}) {
			t.Errorf("the device has %q, error %v", ids, err)
		}
	}
	check()
	if _, err := s.Reseal(t.Context(), func(e *targets.RecordError) error { return e }); err != nil {
		t.Fatal(err)
	}
	check()
	if list.Left() {
		t.Error("the list is still there")
	}
	if list.Bad == nil {
		return
	}
	list.Bad()
	if ids, err := s.OfDevice(t.Context(), "bank", "device-1", "jeff"); err == nil {
		t.Errorf("a list that cannot be read: the device has %q", ids)
	}
}

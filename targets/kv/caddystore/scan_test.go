package caddystore

import (
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

// A listing in which a file vanishes is incomplete, and does not say so by
// any other error than that of a missing folder.
func TestListingIsComplete(t *testing.T) {
	storage := newHostileStorage(t)
	storage.mayList, storage.vanish = true, 3
	s := newStore(storage)
	putOne(t, s)
	n := 0
	err := s.Each(t.Context(), func(*targets.Target, error) error { n++; return nil })
	if err != nil || n != 1 || storage.vanish != 0 {
		t.Errorf("listed %d targets, error %v", n, err)
	}
	storage.vanish = 1000
	if err := s.Each(t.Context(), func(*targets.Target, error) error { return nil }); err == nil {
		t.Error("a listing that was never complete gave no error")
	}
}

func TestListsOfAFormerRelease(t *testing.T) {
	for name, ring := range map[string]*kv.Ring{"plain": nil, "sealed": kvtest.Ring(t, 1)} {
		t.Run(name, func(t *testing.T) {
			storage := newHostileStorage(t)
			storage.mayList = true
			device := targets.Ref{Namespace: "bank", ID: "device-1"}.Hash()
			list := formerFolder + "/" + device[:2] + "/" + device[2:]
			put := func(text string) { storage.put(list, ring.Seal([]byte(text), list)) }
			kvtest.Former(t, newBackend(storage), ring, kvtest.FormerList{
				Put:  func() { put(`{"schema":1,"namespace":"bank","device_id":"device-1","targets":["old"]}`) },
				Bad:  func() { put(`{"schema":1,"namespace":"bank","device_id":"device-2","targets":["x"]}`) },
				Left: func() bool { return storage.keys(list) != nil },
			})
		})
	}
}

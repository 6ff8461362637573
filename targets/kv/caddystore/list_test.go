package caddystore

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/seal"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/storetest"
)

func TestLister(t *testing.T) {
	t.Run("hostile storage", func(t *testing.T) {
		storage := newHostileStorage(t)
		storage.mayList = true
		storetest.RunLister(t, newStore(storage), func(ref targets.Ref, data []byte) {
			storage.put(targetKey(ref), data)
		})
	})
	t.Run("file storage", func(t *testing.T) {
		storage := &certmagic.FileStorage{Path: t.TempDir()}
		storetest.RunLister(t, newStore(storage), func(ref targets.Ref, data []byte) {
			if err := storage.Store(t.Context(), targetKey(ref), data); err != nil {
				t.Fatal(err)
			}
			// What a process that was killed leaves behind.
			left := filepath.Join(storage.Path, filepath.FromSlash(targetKey(ref))+".tmp")
			if err := os.WriteFile(left, data, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// A listing in which a file vanishes is incomplete, and does not say so by
// any other error than that of a missing folder.
func TestListingIsComplete(t *testing.T) {
	storage := newHostileStorage(t)
	storage.mayList, storage.vanish = true, 3
	s := newStore(storage)
	ref := targets.Ref{ID: "one"}
	if err := s.Update(t.Context(), ref, to(storetest.Target(ref))); err != nil {
		t.Fatal(err)
	}
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

func TestListingReportsOutage(t *testing.T) {
	down := errors.New("connection refused")
	storage := newHostileStorage(t)
	storage.mayList = true
	s := newStore(storage)
	ref := targets.Ref{ID: "one"}
	if err := s.Update(t.Context(), ref, to(storetest.Target(ref))); err != nil {
		t.Fatal(err)
	}
	storage.setFault(func(int, string, string) error { return down })
	err := s.Each(t.Context(), func(_ *targets.Target, err error) error {
		t.Errorf("an outage came as a damaged record: %v", err)
		return nil
	})
	if !errors.Is(err, down) {
		t.Errorf("Each returned %v", err)
	}
	if _, err := s.Reseal(t.Context(), func(*targets.RecordError) error { return nil }); !errors.Is(err, down) {
		t.Errorf("Reseal returned %v", err)
	}
	if err := s.Remove(t.Context(), ref); !errors.Is(err, down) {
		t.Errorf("Remove returned %v", err)
	}
}

var discard = slog.New(slog.DiscardHandler)

func ring(t *testing.T, keys ...byte) *seal.Ring {
	t.Helper()
	var secrets [][]byte
	for _, k := range keys {
		secrets = append(secrets, bytes.Repeat([]byte{k}, seal.KeySize))
	}
	r, err := seal.NewRing(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sealed(storage certmagic.Storage, r *seal.Ring) *Store {
	s := newStore(storage)
	s.ring = r
	return s
}

func TestSealedStoreKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) targets.Store {
		return sealed(newHostileStorage(t), ring(t, 1))
	})
	storage := newHostileStorage(t)
	storage.mayList = true
	s := sealed(storage, ring(t, 1))
	storetest.RunLister(t, s, func(ref targets.Ref, data []byte) {
		storage.put(targetKey(ref), s.ring.Seal(data, targetKey(ref)))
	})
	storetest.RunUnreadable(t, s, func(ref targets.Ref, data []byte) {
		storage.put(targetKey(ref), s.ring.Seal(data, targetKey(ref)))
	})
}

func TestSealedRecordCannotBeChanged(t *testing.T) {
	storage := newHostileStorage(t)
	storetest.RunSealed(t, sealed(storage, ring(t, 1)), func(ref targets.Ref) []byte {
		return storage.get(targetKey(ref))
	}, func(ref targets.Ref, data []byte) {
		storage.put(targetKey(ref), data)
	})
}

// Nobody can hide a target from its device by changing the device's list.
func TestSealedDeviceCannotBeChanged(t *testing.T) {
	storage := newHostileStorage(t)
	s := sealed(storage, ring(t, 1))
	ref := targets.Ref{ID: "one"}
	if err := s.Update(t.Context(), ref, to(storetest.Target(ref))); err != nil {
		t.Fatal(err)
	}
	key, other := deviceKey(targets.Ref{ID: "device-1"}), deviceKey(targets.Ref{ID: "device-2"})
	good := storage.get(key)
	if bytes.Contains(good, []byte("one")) || bytes.Contains(good, []byte("device-1")) {
		t.Error("the stored list is readable")
	}
	for name, data := range map[string][]byte{
		"not sealed":     []byte(`{"schema":1,"device_id":"device-1","targets":[]}`),
		"another device": s.ring.Seal([]byte(`{"schema":1,"device_id":"device-1","targets":[]}`), other),
		"a target's":     storage.get(targetKey(ref)),
		"changed":        append(good[:len(good)-1:len(good)-1], good[len(good)-1]^1),
	} {
		storage.put(key, data)
		if ids, err := s.OfDevice(t.Context(), "", "device-1", "jeff"); err == nil {
			t.Errorf("%s: the device has %q", name, ids)
		}
	}
}

func TestReseal(t *testing.T) {
	storage := newHostileStorage(t)
	storage.mayList = true
	old := sealed(storage, ring(t, 1))
	refs := []targets.Ref{{ID: "one"}, {ID: "two"}, {Namespace: "bank", ID: "three"}}
	for _, ref := range refs {
		if err := old.Update(t.Context(), ref, to(storetest.Target(ref))); err != nil {
			t.Fatal(err)
		}
	}
	damaged := targets.Ref{ID: "damaged"}
	storage.put(targetKey(damaged), []byte("junk"))

	both := sealed(storage, ring(t, 2, 1))
	for round, want := range []int{5, 0} { // three targets, and a device of each namespace
		var reported []string
		n, err := both.Reseal(t.Context(), func(e *targets.RecordError) error {
			reported = append(reported, e.Hash)
			return nil
		})
		if n != want || err != nil || !slices.Equal(reported, []string{damaged.Hash()}) {
			t.Errorf("round %d: %d records were resealed, want %d; reported %q, error %v", round, n, want, reported, err)
		}
	}
	enough := errors.New("enough")
	if _, err := both.Reseal(t.Context(), func(*targets.RecordError) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("Reseal returned %v", err)
	}
	fresh := sealed(storage, ring(t, 2))
	for _, ref := range refs {
		if _, err := fresh.Load(t.Context(), ref); err != nil {
			t.Errorf("with the new key alone: %v", err)
		}
		if _, err := old.Load(t.Context(), ref); err == nil || !strings.Contains(err.Error(), "does not have") {
			t.Errorf("with the old key alone: %v", err)
		}
	}
	if ids, err := fresh.OfDevice(t.Context(), "", "device-1", "jeff"); err != nil || len(ids) != 2 {
		t.Errorf("the device has %q, error %v", ids, err)
	}
}

func TestRecordsAreSealedLater(t *testing.T) {
	storage := newHostileStorage(t)
	storage.mayList = true
	ref := targets.Ref{ID: "one"}
	if err := newStore(storage).Update(t.Context(), ref, to(storetest.Target(ref))); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, bytes.Repeat([]byte{1}, seal.KeySize), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := seal.Load(seal.Options{Keys: []string{key}, AcceptUnsealed: true}, discard)
	if err != nil {
		t.Fatal(err)
	}
	s := sealed(storage, r)
	if _, err := s.Load(t.Context(), ref); err != nil {
		t.Errorf("an older record: %v", err)
	}
	if n, err := s.Reseal(t.Context(), func(e *targets.RecordError) error { return e }); n != 2 || err != nil {
		t.Errorf("%d records were resealed, error %v", n, err)
	}
	if _, err := sealed(storage, ring(t, 1)).Load(t.Context(), ref); err != nil {
		t.Errorf("the sealed record: %v", err)
	}
	if _, err := newStore(storage).Load(t.Context(), ref); err == nil || !strings.Contains(err.Error(), "option seal") {
		t.Errorf("without a key: %v", err)
	}
}

func TestSealIsProvisioned(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, bytes.Repeat([]byte{1}, seal.KeySize), 0o600); err != nil {
		t.Fatal(err)
	}
	err := caddy.Validate(&caddy.Config{
		StorageRaw: mustJSON(t, map[string]string{"module": "file_system", "root": dir}),
		AppsRaw: caddy.ModuleMap{
			"oob_store_test": mustJSON(t, map[string]any{"store": map[string]any{"type": "caddy", "seal": []string{key}}}),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ref := targets.Ref{ID: "one"}
	if err := provisioned.Update(t.Context(), ref, to(storetest.Target(ref))); err != nil {
		t.Fatal(err)
	}
	storage := &certmagic.FileStorage{Path: dir}
	if _, err := sealed(storage, ring(t, 1)).Load(t.Context(), ref); err != nil {
		t.Errorf("the record is not sealed with the key of the file: %v", err)
	}
}

// Package kvtest tells whether a kv.Backend keeps its contract, with package kv
// above it, and has a store in memory for the tests of others.
package kvtest

import (
	"bytes"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// store is a kv.Store with ways past it.
type store struct {
	*kv.Store
	t       *testing.T
	backend kv.Backend
	ring    *kv.Ring
}

func newStore(t *testing.T, b kv.Backend, ring *kv.Ring) *store {
	return &store{kv.New(b, ring, time.Minute), t, b, ring}
}

// Ring returns a ring with a key for each of the bytes.
func Ring(t testing.TB, keys ...byte) *kv.Ring {
	t.Helper()
	secrets := make([][]byte, 0, len(keys))
	for _, k := range keys {
		secrets = append(secrets, bytes.Repeat([]byte{k}, kv.KeySize))
	}
	r, err := kv.NewRing(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Run holds a backend to its contract, and the store above it to those of
// targets.Store and shortlink.Store. open returns an empty backend that drops
// expired links within a minute; what it needs is cleaned up with t.Cleanup.
// failing returns one whose storage can be taken away.
func Run(t *testing.T, open func(t *testing.T) kv.Backend, failing func(t *testing.T) Outage) {
	open = distinct(open)
	primitives(t, open)
	unsealed := func(t *testing.T) *store { return newStore(t, open(t), nil) }
	for name, ring := range map[string]*kv.Ring{"unsealed": nil, "sealed": Ring(t, 1, 2)} {
		t.Run(name, func(t *testing.T) {
			open := func(t *testing.T) *store { return newStore(t, open(t), ring) }
			for name, test := range map[string]func(*testing.T, *store){
				"the life of a record":                 life,
				"cancelled context":                    cancelled,
				"hostile ids":                          hostileIDs,
				"namespaces are separate":              namespaces,
				"records that cannot be read":          unreadable,
				"all records":                          listing,
				"targets of a device":                  ofDevice,
				"targets of a device, by user":         ofDeviceByUser,
				"list of a device that cannot be read": unreadableList,
				"processes lose no update":             processes,
				"processes lose no target of a device": movingBetweenDevices,
				"a storage that vanished":              vanished,
				"the life of a short link":             linkLife,
				"an invalid id of a short link":        badIDs,
				"many take one short link":             contention,
				"cancelled context of a short link":    cancelledLink,
			} {
				t.Run(name, func(t *testing.T) { test(t, open(t)) })
			}
		})
	}
	t.Run("an outage", func(t *testing.T) { outage(t, failing(t)) })
	t.Run("crashes", func(t *testing.T) { crashes(t, unsealed) })
	t.Run("clearing up takes nothing of others", func(t *testing.T) { clearing(t, unsealed) })
	t.Run("tampering", func(t *testing.T) { tampering(t, newStore(t, open(t), Ring(t, 1))) })
	t.Run("resealing", func(t *testing.T) { resealing(t, open(t)) })
}

// distinct ends a test where two storages have one Location: the marker and the
// locks of one would be taken for those of the other.
func distinct(open func(t *testing.T) kv.Backend) func(t *testing.T) kv.Backend {
	seen := make(map[string]bool)
	return func(t *testing.T) kv.Backend {
		t.Helper()
		b := open(t)
		where := b.Location()
		if seen[where] {
			t.Fatalf("Location returned %q for another storage: the text is the same only where the values are the same", where)
		}
		seen[where] = true
		return b
	}
}

func (s *store) key(ref targets.Ref) kv.Key { return kv.Key{Kind: kv.Records, Name: ref.Hash()} }

// readRaw returns what is stored as the record of a target.
func (s *store) readRaw(ref targets.Ref) []byte {
	s.t.Helper()
	v, err := s.backend.Get(s.t.Context(), s.key(ref))
	if v == nil || err != nil {
		s.t.Fatalf("reading past the store: %v, %v", v, err)
	}
	return v.Data
}

// writeRaw stores data as the record of a target.
func (s *store) writeRaw(ref targets.Ref, data []byte) {
	s.t.Helper()
	set(s.t, s.backend, s.key(ref), data)
}

// write is writeRaw with the seal.
func (s *store) write(ref targets.Ref, data []byte) {
	s.t.Helper()
	s.writeRaw(ref, s.ring.Seal(data, s.backend.Place(s.key(ref))))
}

// set puts data under a key, whatever is there.
func set(t *testing.T, b kv.Backend, key kv.Key, data []byte) {
	t.Helper()
	old, err := b.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if done, err := b.Swap(t.Context(), key, old, data); !done || err != nil {
		t.Fatalf("writing past the store: %t, %v", done, err)
	}
}

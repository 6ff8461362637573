package kv_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/keyedhash"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

// All who share a store get the same key, of which one draws it; whoever only
// looks draws none.
func TestHashKeyIsShared(t *testing.T) {
	b := new(kvtest.Backend)
	if found, err := kv.New(b, nil, kv.DefaultTimeout).FindHashKey(t.Context()); found != nil || err != nil {
		t.Fatalf("%x, %v", found, err)
	}
	keys := make([][]byte, 8)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			var err error
			if keys[i], err = kv.New(b, nil, kv.DefaultTimeout).HashKey(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, key := range keys {
		if len(key) < keyedhash.MinSecret || !bytes.Equal(key, keys[0]) {
			t.Errorf("%x and %x", key, keys[0])
		}
	}
	if found, err := kv.New(b, nil, kv.DefaultTimeout).FindHashKey(t.Context()); !bytes.Equal(found, keys[0]) || err != nil {
		t.Errorf("%x, %v", found, err)
	}
}

// The key is sealed as records are, and outlives the replacement of the seal's
// key. One that cannot be opened is not replaced by another.
func TestHashKeyIsSealed(t *testing.T) {
	b := new(kvtest.Backend)
	key, err := kv.New(b, kvtest.Ring(t, 1), kv.DefaultTimeout).HashKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := kv.New(b, kvtest.Ring(t, 2), kv.DefaultTimeout).HashKey(t.Context()); err == nil || got != nil || !strings.Contains(err.Error(), "the hash key in the store cannot be used") {
		t.Errorf("%x, %v", got, err)
	}
	none := func(e *targets.RecordError) error { return e }
	if _, err := kv.New(b, kvtest.Ring(t, 2, 1), kv.DefaultTimeout).Reseal(t.Context(), none); err != nil {
		t.Fatal(err)
	}
	if got, err := kv.New(b, kvtest.Ring(t, 2), kv.DefaultTimeout).HashKey(t.Context()); err != nil || !bytes.Equal(got, key) {
		t.Errorf("after resealing: %x, %v", got, err)
	}
}

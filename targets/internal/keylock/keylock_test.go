package keylock

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
)

func TestLockExcludesPerKey(t *testing.T) {
	var table Table
	counts := make([]int, 4)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			key := i % len(counts)
			unlock, err := table.Lock(t.Context(), strconv.Itoa(key))
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			counts[key]++ // the race detector watches
		})
	}
	wg.Wait()
	for key, n := range counts {
		if n != 50 {
			t.Errorf("key %d was counted %d times, want 50", key, n)
		}
	}
	if len(table.locks) != 0 {
		t.Errorf("%d locks are left behind", len(table.locks))
	}
}

func TestLockHonoursContext(t *testing.T) {
	var table Table
	unlock, err := table.Lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error)
	go func() {
		_, err := table.Lock(ctx, "a")
		waiting <- err
	}()
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("a waiter got %v, want context.Canceled", err)
	}
	if _, err := table.Lock(ctx, "b"); !errors.Is(err, context.Canceled) {
		t.Errorf("a free key with a dead context gave %v, want context.Canceled", err)
	}
	other, err := table.Lock(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	unlock()
	unlock() // does no harm
	again, err := table.Lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	again()
	if len(table.locks) != 0 {
		t.Errorf("%d locks are left behind", len(table.locks))
	}
}

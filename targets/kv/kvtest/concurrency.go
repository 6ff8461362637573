package kvtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

func concurrency(t *testing.T, s *store) {
	const writers, each = 64, 3
	ref := targets.Ref{ID: "counter"}
	record := Target(ref)
	record.Modified = 0
	put(t, s, ref, record)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				err := s.Update(t.Context(), ref, func(current *targets.Target) (*targets.Target, error) {
					current.Modified++
					return current, nil
				})
				if err != nil {
					t.Error(err)
				}
				if _, err := s.Load(t.Context(), ref); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := load(t, s, ref); got.Modified != writers*each {
		t.Errorf("%d of %d increments are left", got.Modified, writers*each)
	}
}

func ofDeviceConcurrently(t *testing.T, s *store) {
	const n = 32
	var wg sync.WaitGroup
	var want []string
	for i := range n {
		ref := targets.Ref{ID: fmt.Sprint("target-", i)}
		if i%2 == 0 {
			want = append(want, ref.ID)
		}
		wg.Go(func() {
			put(t, s, ref, Target(ref))
			if i%2 == 1 {
				update(t, s, ref, func(*targets.Target) *targets.Target { return nil })
			}
		})
	}
	wg.Wait()
	mustBeOfDevice(t, s, "device-1", want...)
}

func cancelled(t *testing.T, s *store) {
	ref := targets.Ref{ID: "one"}
	put(t, s, ref, Target(ref))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Load(ctx, ref); !errors.Is(err, context.Canceled) {
		t.Errorf("Load returned %v, want context.Canceled", err)
	}
	if _, err := s.OfDevice(ctx, "", "device-1", "jeff"); !errors.Is(err, context.Canceled) {
		t.Errorf("OfDevice returned %v, want context.Canceled", err)
	}
	err := s.Update(ctx, ref, func(*targets.Target) (*targets.Target, error) { return nil, nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Update returned %v, want context.Canceled", err)
	}
	load(t, s, ref)
}

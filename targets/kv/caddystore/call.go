package caddystore

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/oob-dispatch/oob-dispatch/targets/internal/keylock"
)

// maxCalls bounds the calls under way, those included that the storage does not
// come back from.
const maxCalls = 128

// locks are those of the process, by storage key: during a reload two stores
// use the same storage.
var locks keylock.Table

// held is the lock of a storage key. It is freed when the last user is done: a
// write that the storage does not come back from may still happen, and must
// not overwrite what others write later.
type held struct {
	users  atomic.Int32
	unlock func()
}

// hold locks a storage key against others of this process.
func (s *Store) hold(ctx context.Context, place string) (*held, error) {
	unlock, err := locks.Lock(ctx, place)
	if err != nil {
		return nil, fmt.Errorf("waiting for another change of the record: %w", err)
	}
	h := &held{unlock: unlock}
	h.users.Store(1)
	return h, nil
}

func (h *held) release() {
	if h != nil && h.users.Add(-1) == 0 {
		h.unlock()
	}
}

// call makes one call of the storage and waits for its end, but not longer than
// the context: storages need not honour it. The lock, if there is one, is held
// until the call has really ended.
func (s *Store) call(ctx context.Context, h *held, f func(context.Context) ([]byte, error)) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case s.calls <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%d calls of the storage are unanswered: %w", maxCalls, ctx.Err())
	}
	if h != nil {
		h.users.Add(1)
	}
	type result struct {
		data []byte
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		defer func() { <-s.calls }()
		defer h.release()
		var r result
		defer func() {
			if p := recover(); p != nil { // there is no server above that would
				r = result{err: fmt.Errorf("the storage module panicked (%T)", p)}
			}
			ended <- r
		}()
		r.data, r.err = f(ctx)
	}()
	select {
	case r := <-ended:
		return r.data, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("the storage has not answered: %w", ctx.Err())
	}
}

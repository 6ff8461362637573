package caddystore

import (
	"context"
	"fmt"

	"github.com/oob-dispatch/oob-dispatch/targets/internal/keylock"
)

// maxCalls bounds the calls of a storage that are under way, those included that
// the storage does not come back from.
const maxCalls = 128

// callLocks are those of the process: during a reload two stores use the same
// storage.
var callLocks keylock.Table

// call does some work with the storage, which need not end with its context and
// cannot compare and swap. It waits for the end of the work, but not longer than
// the context. Nobody else of this process works under the same lock meanwhile,
// unless its name is empty. It is held until the work has really ended: a write
// that the storage does not come back from may still happen, and must not
// overwrite what others write later. A panic of the storage is an error.
func call[T any](ctx context.Context, s *Store, lock string, work func(context.Context) (T, error)) (none T, err error) {
	if err := ctx.Err(); err != nil {
		return none, err
	}
	unlock := func() {}
	if lock != "" {
		if unlock, err = callLocks.Lock(ctx, lock); err != nil {
			return none, fmt.Errorf("waiting for another change of the record: %w", err)
		}
	}
	select {
	case s.calls <- struct{}{}:
	case <-ctx.Done():
		unlock()
		return none, fmt.Errorf("%d calls of the storage are unanswered: %w", cap(s.calls), ctx.Err())
	}
	type result struct {
		value T
		err   error
	}
	ended := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil { // there is no server above that would
				r = result{err: fmt.Errorf("the storage module panicked (%T)", p)}
			}
			unlock()
			<-s.calls
			ended <- r
		}()
		r.value, r.err = work(ctx)
	}()
	select {
	case r := <-ended:
		return r.value, r.err
	case <-ctx.Done():
		return none, fmt.Errorf("the storage has not answered: %w", ctx.Err())
	}
}

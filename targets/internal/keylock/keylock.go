// Package keylock locks by key: whoever holds a key keeps others from the same
// key and from no other one.
package keylock

import (
	"context"
	"sync"
)

// Table is a set of locks, made as they are wanted and dropped when nobody
// wants them. The zero Table is ready for use.
type Table struct {
	mu    sync.Mutex
	locks map[string]*lock
}

type lock struct {
	held  chan struct{} // holds one element while locked
	users int           // holders and waiters
}

// Lock waits until the key is free or the context ends, and returns the
// function that frees it again. That function may be called more than once,
// and by any goroutine.
func (t *Table) Lock(ctx context.Context, key string) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := t.join(key)
	select {
	case l.held <- struct{}{}:
		return sync.OnceFunc(func() {
			<-l.held
			t.leave(key, l)
		}), nil
	case <-ctx.Done():
		t.leave(key, l)
		return nil, ctx.Err()
	}
}

func (t *Table) join(key string) *lock {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.locks[key]
	if l == nil {
		if t.locks == nil {
			t.locks = make(map[string]*lock)
		}
		l = &lock{held: make(chan struct{}, 1)}
		t.locks[key] = l
	}
	l.users++
	return l
}

func (t *Table) leave(key string, l *lock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(t.locks, key)
	}
}

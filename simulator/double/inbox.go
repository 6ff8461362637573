package double

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Inbox holds what was delivered until somebody takes it; of very many the
// latest. The zero value is empty. An Inbox is safe for concurrent use.
type Inbox[T any] struct {
	mu      sync.Mutex
	waiting []T
	arrived chan struct{} // closed at the next delivery; nil if nobody waits
}

// Put delivers v.
func (b *Inbox[T]) Put(v T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = Keep(b.waiting, v)
	if b.arrived != nil {
		close(b.arrived)
		b.arrived = nil
	}
}

// Waiting returns what nobody has taken, the oldest first.
func (b *Inbox[T]) Waiting() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.waiting)
}

// Drop takes out what matches.
func (b *Inbox[T]) Drop(match func(T) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = slices.DeleteFunc(b.waiting, match)
}

// Wait takes the oldest that matches (nil: any), or waits for the next.
func (b *Inbox[T]) Wait(ctx context.Context, match func(T) bool) (T, error) {
	for {
		v, arrived := b.take(match)
		if arrived == nil {
			return v, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return v, fmt.Errorf("waiting for a message: %w", ctx.Err())
		}
	}
}

// take returns a channel to wait for where nothing matches.
func (b *Inbox[T]) take(match func(T) bool) (v T, arrived <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, v := range b.waiting {
		if match == nil || match(v) {
			b.waiting = slices.Delete(b.waiting, i, i+1)
			return v, nil
		}
	}
	if b.arrived == nil {
		b.arrived = make(chan struct{})
	}
	return v, b.arrived
}

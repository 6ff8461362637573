package claimstest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
)

// Memory is a store in memory. The zero value is ready for use.
type Memory struct {
	mu    sync.Mutex
	all   map[string][]byte
	fault func(op string) error
}

// SetFault makes calls fail with what f returns for "put", "get" or "take".
func (m *Memory) SetFault(f func(op string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

// All returns what is kept, by id.
func (m *Memory) All() map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.all)
}

func (m *Memory) at(ctx context.Context, op, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !shortlink.ValidID(id) {
		return errors.New("not the id of a claim")
	}
	if m.fault != nil {
		return m.fault(op)
	}
	return nil
}

// Put implements shortlink.Store.
func (m *Memory) Put(ctx context.Context, id string, content []byte, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.at(ctx, "put", id); err != nil {
		return err
	}
	if len(content) > shortlink.MaxContent {
		return errors.New("the content is too long")
	}
	if m.all == nil {
		m.all = make(map[string][]byte)
	}
	m.all[id] = slices.Clone(content)
	return nil
}

// Get implements shortlink.Store.
func (m *Memory) Get(ctx context.Context, id string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.at(ctx, "get", id); err != nil {
		return nil, err
	}
	content, ok := m.all[id]
	if !ok {
		return nil, shortlink.ErrNotFound
	}
	return slices.Clone(content), nil
}

// Take implements shortlink.Store.
func (m *Memory) Take(ctx context.Context, id string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.at(ctx, "take", id); err != nil {
		return nil, err
	}
	content, ok := m.all[id]
	if !ok {
		return nil, shortlink.ErrNotFound
	}
	delete(m.all, id)
	return content, nil
}

// Interface guard
var _ shortlink.Store = (*Memory)(nil)

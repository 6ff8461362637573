package kv

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// Memory is a Backend that forgets everything with the process, short links not
// before, for tests. The zero Memory is ready for use.
type Memory struct {
	mu     sync.Mutex
	values map[Key]Value
	name   string
}

// Get implements Backend.
func (m *Memory) Get(ctx context.Context, key Key) (*Value, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[key]
	if !ok {
		return nil, ctx.Err()
	}
	return &Value{bytes.Clone(v.Data), v.Version}, ctx.Err()
}

// Set puts data under a key, whatever is there; nil takes it away.
func (m *Memory) Set(key Key, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(key, data)
}

func (m *Memory) set(key Key, data []byte) {
	if m.values == nil {
		m.values = make(map[Key]Value)
	}
	if data == nil {
		delete(m.values, key)
		return
	}
	m.values[key] = Value{append([]byte{}, data...), rand.Text()}
}

// Swap implements Backend.
func (m *Memory) Swap(ctx context.Context, key Key, old *Value, data []byte) (done bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[key]
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if ok != (old != nil) || ok && v.Version != old.Version {
		return false, nil
	}
	m.set(key, data)
	return true, nil
}

// Delete implements Backend.
func (m *Memory) Delete(ctx context.Context, key Key) (found bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, found = m.values[key]
	if err := ctx.Err(); err != nil {
		return false, err
	}
	m.set(key, nil)
	return found, nil
}

// Scan implements Backend.
func (m *Memory) Scan(ctx context.Context, kind Kind, f func(name string, v *Value) error) error {
	m.mu.Lock()
	values := maps.Clone(m.values)
	m.mu.Unlock()
	for key := range values {
		if key.Kind != kind {
			continue
		}
		v, err := m.Get(ctx, key)
		if err != nil {
			return err
		}
		if v == nil {
			continue
		}
		if err := f(key.Name, v); err != nil {
			return err
		}
	}
	return nil
}

// Put implements Backend.
func (m *Memory) Put(ctx context.Context, key Key, data []byte, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	m.set(key, data)
	return nil
}

// Take implements Backend.
func (m *Memory) Take(ctx context.Context, key Key) ([]byte, error) {
	v, err := m.Get(ctx, key)
	if v == nil || err != nil {
		return nil, err
	}
	if found, err := m.Delete(ctx, key); !found || err != nil {
		return nil, err
	}
	return v.Data, nil
}

// Counter implements Backend.
func (*Memory) Counter() targets.SharedCounter { return nil }

// Place implements Backend.
func (*Memory) Place(key Key) string { return fmt.Sprintf("%d/%s", key.Kind, key.Name) }

// Location implements Backend.
func (m *Memory) Location() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.name == "" {
		m.name = "memory " + rand.Text()
	}
	return m.name
}

// Interface guard
var _ Backend = (*Memory)(nil)

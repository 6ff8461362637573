package kvtest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// Backend is a kv.Backend in memory, for tests. It keeps short links for an hour
// beyond their time. The zero Backend is ready for use.
type Backend struct {
	mu     sync.Mutex
	values map[kv.Key]kv.Value
	links  map[kv.Key]time.Time // when they expire
	name   string
	fault  error
}

// Fail has every operation return an error from now on; nil ends that.
func (m *Backend) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = err
}

// err is asked with the lock.
func (m *Backend) err(ctx context.Context) error { return cmp.Or(m.fault, ctx.Err()) }

// Get implements kv.Backend.
func (m *Backend) Get(ctx context.Context, key kv.Key) (*kv.Value, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[key]
	if err := m.err(ctx); !ok || err != nil {
		return nil, err
	}
	return &kv.Value{Data: bytes.Clone(v.Data), Version: v.Version}, nil
}

// Set puts data under a key, whatever is there; nil takes it away.
func (m *Backend) Set(key kv.Key, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(key, data)
}

func (m *Backend) set(key kv.Key, data []byte) {
	if m.values == nil {
		m.values = make(map[kv.Key]kv.Value)
	}
	if data == nil {
		delete(m.values, key)
		return
	}
	m.values[key] = kv.Value{Data: append([]byte{}, data...), Version: rand.Text()}
}

// Swap implements kv.Backend.
func (m *Backend) Swap(ctx context.Context, key kv.Key, old *kv.Value, data []byte) (done bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[key]
	if err := m.err(ctx); err != nil {
		return false, err
	}
	if ok != (old != nil) || ok && v.Version != old.Version {
		return false, nil
	}
	m.set(key, data)
	return true, nil
}

// Delete implements kv.Backend.
func (m *Backend) Delete(ctx context.Context, key kv.Key) (found bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, found = m.values[key]
	if err := m.err(ctx); err != nil {
		return false, err
	}
	m.set(key, nil)
	return found, nil
}

// Scan implements kv.Backend.
func (m *Backend) Scan(ctx context.Context, kind kv.Kind, f func(name string, v *kv.Value) error) error {
	m.mu.Lock()
	values, err := maps.Clone(m.values), m.err(ctx)
	m.mu.Unlock()
	if err != nil {
		return err
	}
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

// Put implements kv.Backend.
func (m *Backend) Put(ctx context.Context, key kv.Key, data []byte, expires time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.err(ctx); err != nil {
		return err
	}
	for other, at := range m.links {
		if time.Since(at) > time.Hour {
			m.set(other, nil)
			delete(m.links, other)
		}
	}
	if m.links == nil {
		m.links = make(map[kv.Key]time.Time)
	}
	m.links[key] = expires
	m.set(key, data)
	return nil
}

// Take implements kv.Backend.
func (m *Backend) Take(ctx context.Context, key kv.Key) ([]byte, error) {
	v, err := m.Get(ctx, key)
	if v == nil || err != nil {
		return nil, err
	}
	if found, err := m.Delete(ctx, key); !found || err != nil {
		return nil, err
	}
	return v.Data, nil
}

// Counter implements kv.Backend.
func (*Backend) Counter() targets.Counter { return nil }

// Place implements kv.Backend.
func (*Backend) Place(key kv.Key) string { return fmt.Sprintf("%d/%s", key.Kind, key.Name) }

// Location implements kv.Backend.
func (m *Backend) Location() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.name == "" {
		m.name = "memory " + rand.Text()
	}
	return m.name
}

// Interface guard
var _ kv.Backend = (*Backend)(nil)

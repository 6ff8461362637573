package kvtest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// Op is a point of a store's work at which a fault can be put.
type Op string

// The points of a store's work.
const (
	Load     Op = "load"
	Update   Op = "update"   // before the edit is asked for
	Write    Op = "write"    // before the new record is durable
	Written  Op = "written"  // after that: an error is reported all the same
	OfDevice Op = "ofDevice" // before the device's targets are listed
	Put      Op = "put"      // these are about short links
	Get      Op = "get"
	Take     Op = "take"
)

// Memory is a store without a disk, for tests of what lies above. Faults can be
// put into its work. The zero Memory is ready for use.
type Memory struct {
	backend Backend
	made    sync.Once
	store   *kv.Store

	mu    sync.Mutex
	fault func(context.Context, Op) error
}

func (m *Memory) kv() *kv.Store {
	m.made.Do(func() { m.store = kv.New(&m.backend, nil, time.Hour) })
	return m.store
}

// SetFault puts f at every point of the store's work from now on; nil takes it
// away. An error from f fails the call there. To be slow, f waits, for
// instance until the context ends.
func (m *Memory) SetFault(f func(context.Context, Op) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

func (m *Memory) at(ctx context.Context, op Op) error {
	m.mu.Lock()
	fault := m.fault
	m.mu.Unlock()
	if fault != nil {
		if err := fault(ctx, op); err != nil {
			return fmt.Errorf("memory store: %w", err)
		}
	}
	if op == Written {
		return nil
	}
	return ctx.Err()
}

// Dump returns all records as they are kept, to be searched for what must not
// be there.
func (m *Memory) Dump() []byte {
	var all []byte
	_ = m.backend.Scan(context.Background(), kv.Records, func(_ string, v *kv.Value) error { // it never fails
		all = append(append(all, v.Data...), '\n')
		return nil
	})
	return all
}

// Links returns the short links that are kept, by id.
func (m *Memory) Links() map[string][]byte {
	all := make(map[string][]byte)
	_ = m.backend.Scan(context.Background(), kv.Links, func(id string, v *kv.Value) error { // it never fails
		all[id] = v.Data
		return nil
	})
	return all
}

// Set keeps data as the record of a target, whatever it is.
func (m *Memory) Set(ref targets.Ref, data []byte) {
	m.backend.Set(kv.Key{Kind: kv.Records, Name: ref.Hash()}, bytes.Clone(data))
}

// Load implements targets.Store.
func (m *Memory) Load(ctx context.Context, ref targets.Ref) (*targets.Target, error) {
	if err := m.at(ctx, Load); err != nil {
		return nil, err
	}
	return m.kv().Load(ctx, ref)
}

// Update implements targets.Store.
func (m *Memory) Update(ctx context.Context, ref targets.Ref, edit targets.Edit) error {
	return m.update(ctx, ref, edit, m.kv().Update)
}

// Heal implements targets.Store.
func (m *Memory) Heal(ctx context.Context, ref targets.Ref, edit targets.Edit) error {
	return m.update(ctx, ref, edit, m.kv().Heal)
}

// update asks for faults even where the edit changes nothing.
func (m *Memory) update(ctx context.Context, ref targets.Ref, edit targets.Edit, f func(context.Context, targets.Ref, targets.Edit) error) error {
	if err := m.at(ctx, Update); err != nil {
		return err
	}
	err := f(ctx, ref, func(current *targets.Target) (*targets.Target, error) {
		next, err := edit(current)
		if err != nil {
			return nil, err
		}
		return next, m.at(ctx, Write)
	})
	if err != nil {
		return err
	}
	return m.at(ctx, Written)
}

// OfDevice implements targets.Store.
func (m *Memory) OfDevice(ctx context.Context, namespace, deviceID, username string) ([]string, error) {
	if err := m.at(ctx, OfDevice); err != nil {
		return nil, err
	}
	return m.kv().OfDevice(ctx, namespace, deviceID, username)
}

// Each is kv.Store.Each.
func (m *Memory) Each(ctx context.Context, f func(*targets.Target, error) error) error {
	return m.kv().Each(ctx, f)
}

// Put implements shortlink.Store.
func (m *Memory) Put(ctx context.Context, id string, content []byte, expires time.Time) error {
	if err := m.at(ctx, Put); err != nil {
		return err
	}
	return m.kv().Put(ctx, id, content, expires)
}

// Get implements shortlink.Store.
func (m *Memory) Get(ctx context.Context, id string) ([]byte, error) {
	if err := m.at(ctx, Get); err != nil {
		return nil, err
	}
	return m.kv().Get(ctx, id)
}

// Take implements shortlink.Store.
func (m *Memory) Take(ctx context.Context, id string) ([]byte, error) {
	if err := m.at(ctx, Take); err != nil {
		return nil, err
	}
	return m.kv().Take(ctx, id)
}

// Interface guards
var (
	_ targets.Store   = (*Memory)(nil)
	_ shortlink.Store = (*Memory)(nil)
)

package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// Op is a point of a store's work at which a fault can be put.
type Op string

// The points of a store's work.
const (
	Load     Op = "load"
	Update   Op = "update"   // before the change is asked for
	Write    Op = "write"    // before the new record is durable
	Written  Op = "written"  // after that: an error is reported all the same
	OfDevice Op = "ofDevice" // before the device's targets are listed
)

// Memory is a correct targets.Store without a disk, for tests of what lies
// above. It keeps encoded records, as real stores do. The zero Memory is ready
// for use.
type Memory struct {
	mu      sync.Mutex // held while a record changes
	state   sync.Mutex // guards what follows
	records map[targets.Ref][]byte
	fault   func(context.Context, Op) error
}

// SetFault puts f at every point of the store's work from now on; nil takes it
// away. An error from f fails the call there. To be slow, f waits, for
// instance until the context ends.
func (m *Memory) SetFault(f func(context.Context, Op) error) {
	m.state.Lock()
	defer m.state.Unlock()
	m.fault = f
}

// Dump returns all records as they are kept, to be searched for what must not
// be there.
func (m *Memory) Dump() []byte {
	m.state.Lock()
	defer m.state.Unlock()
	var all []byte
	for _, record := range m.records {
		all = append(append(all, record...), '\n')
	}
	return all
}

// Put keeps data as the record of a target, whatever it is.
func (m *Memory) Put(ref targets.Ref, data []byte) {
	m.state.Lock()
	defer m.state.Unlock()
	if m.records == nil {
		m.records = make(map[targets.Ref][]byte)
	}
	m.records[ref] = slices.Clone(data)
}

// Load implements targets.Store.
func (m *Memory) Load(ctx context.Context, ref targets.Ref) (*targets.Target, error) {
	if err := m.at(ctx, Load); err != nil {
		return nil, err
	}
	record, ok := m.record(ref)
	if !ok {
		return nil, targets.ErrNotFound
	}
	return decode(record, ref)
}

func decode(record []byte, ref targets.Ref) (*targets.Target, error) {
	t, err := targets.Decode(record, ref)
	if err != nil {
		return nil, &targets.RecordError{Hash: ref.Hash(), Err: err}
	}
	return t, nil
}

// Update implements targets.Store.
func (m *Memory) Update(ctx context.Context, ref targets.Ref, change targets.Edit) error {
	return m.update(ctx, ref, change, false)
}

// Heal implements targets.Store.
func (m *Memory) Heal(ctx context.Context, ref targets.Ref, change targets.Edit) error {
	return m.update(ctx, ref, change, true)
}

func (m *Memory) update(ctx context.Context, ref targets.Ref, change targets.Edit, heal bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.at(ctx, Update); err != nil {
		return err
	}
	var current *targets.Target
	if record, ok := m.record(ref); ok {
		t, err := decode(record, ref)
		if err != nil && (!heal || errors.Is(err, targets.ErrNewer)) {
			return err
		}
		current = t
	}
	next, err := change(current)
	if err != nil {
		return err
	}
	var record []byte
	if next != nil {
		if record, err = targets.Encode(next, ref); err != nil {
			return err
		}
	}
	if err := m.at(ctx, Write); err != nil {
		return err
	}
	if next == nil {
		m.state.Lock()
		delete(m.records, ref)
		m.state.Unlock()
	} else {
		m.Put(ref, record)
	}
	return m.at(ctx, Written)
}

// OfDevice implements targets.Store.
func (m *Memory) OfDevice(ctx context.Context, namespace, deviceID, _ string) ([]string, error) {
	if err := m.at(ctx, OfDevice); err != nil {
		return nil, err
	}
	m.state.Lock()
	defer m.state.Unlock()
	var ids []string
	for ref, record := range m.records {
		if ref.Namespace != namespace {
			continue
		}
		if t, err := targets.Decode(record, ref); err == nil && t.DeviceID == deviceID {
			ids = append(ids, ref.ID)
		}
	}
	return ids, nil
}

// Each implements targets.Lister.
func (m *Memory) Each(ctx context.Context, f func(*targets.Target, error) error) error {
	m.state.Lock()
	records := maps.Clone(m.records)
	m.state.Unlock()
	for ref, record := range records {
		if err := m.at(ctx, Load); err != nil {
			return err
		}
		t, err := targets.Decode(record, ref)
		if err != nil {
			err = &targets.RecordError{Hash: ref.Hash(), Err: err}
		}
		if err := f(t, err); err != nil {
			return err
		}
	}
	return nil
}

// Remove implements targets.Remover.
func (m *Memory) Remove(ctx context.Context, ref targets.Ref) error {
	if err := m.at(ctx, Write); err != nil {
		return err
	}
	m.state.Lock()
	defer m.state.Unlock()
	delete(m.records, ref)
	return nil
}

// RemoveHash implements targets.Remover.
func (m *Memory) RemoveHash(ctx context.Context, hash string) (found bool, err error) {
	if err := m.at(ctx, Write); err != nil {
		return false, err
	}
	m.state.Lock()
	defer m.state.Unlock()
	for ref := range m.records {
		if ref.Hash() == hash {
			delete(m.records, ref)
			return true, nil
		}
	}
	return false, nil
}

func (m *Memory) at(ctx context.Context, op Op) error {
	m.state.Lock()
	fault := m.fault
	m.state.Unlock()
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

func (m *Memory) record(ref targets.Ref) ([]byte, bool) {
	m.state.Lock()
	defer m.state.Unlock()
	record, ok := m.records[ref]
	return record, ok
}

// Interface guards
var (
	_ targets.Store   = (*Memory)(nil)
	_ targets.Lister  = (*Memory)(nil)
	_ targets.Remover = (*Memory)(nil)
)

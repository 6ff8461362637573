package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/internal/keylock"
)

// Store keeps dispatch targets (targets.Store) and short links (shortlink.Store)
// in a Backend.
type Store struct {
	backend Backend
	ring    *Ring // nil where records are not sealed
	timeout time.Duration
}

// Guest is a Caddy module that is a store: a Backend that embeds Options.
type Guest interface {
	Backend
	options() *Options
}

// Open returns the store of a module that has been provisioned.
func Open(g Guest) *Store {
	o := g.options()
	return New(g, o.ring, time.Duration(o.Timeout))
}

// New makes a store. The ring may be nil. The timeout bounds each operation as a
// whole.
func New(b Backend, ring *Ring, timeout time.Duration) *Store {
	return &Store{backend: b, ring: ring, timeout: timeout}
}

// Location returns the same text for all stores with the same records, however
// else they are configured. It is not for people.
func (s *Store) Location() string { return s.backend.Location() }

// Counter counts for all who share the store. It is nil where the storage
// cannot count.
func (s *Store) Counter() targets.Counter { return s.backend.Counter() }

// Load implements targets.Store.
func (s *Store) Load(ctx context.Context, ref targets.Ref) (*targets.Target, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	key := recordKey(ref)
	v, err := s.find(ctx, key)
	switch {
	case err != nil:
		return nil, err
	case v == nil:
		return nil, targets.ErrNotFound
	}
	t, _, err := s.decode(v, key.Name)
	return t, err
}

// Update implements targets.Store.
func (s *Store) Update(ctx context.Context, ref targets.Ref, edit targets.Edit) error {
	return s.update(ctx, ref, edit, false)
}

// Heal implements targets.Store. The device of a record that cannot be read goes
// on listing the target.
func (s *Store) Heal(ctx context.Context, ref targets.Ref, edit targets.Edit) error {
	return s.update(ctx, ref, edit, true)
}

func (s *Store) update(ctx context.Context, ref targets.Ref, edit targets.Edit, heal bool) error {
	return s.repeat(ctx, recordKey(ref), func(ctx context.Context) (bool, error) {
		return s.try(ctx, ref, edit, heal)
	})
}

// repeat calls try, in turn with others of this process for the same key, until
// no other change has come first.
func (s *Store) repeat(ctx context.Context, key Key, try func(context.Context) (done bool, err error)) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	unlock, err := locks.Lock(ctx, s.backend.Location()+"\x00"+s.backend.Place(key))
	if err != nil {
		return fmt.Errorf("waiting for another change of the record: %w", err)
	}
	defer unlock()
	for attempt := range maxAttempts {
		done, err := try(ctx)
		if done || err != nil {
			return err
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
	return fmt.Errorf("changing a record: others changed it %d times meanwhile", maxAttempts)
}

// locks are those of the process. During a reload two stores use the same
// storage. They spare the process conflicts with itself; what keeps the values
// right is that backends compare before they write.
var locks keylock.Table

// maxAttempts bounds how often a change starts anew because another came first.
// One of them succeeds each time.
const maxAttempts = 32

// pause waits for a random time that grows with the attempts.
func pause(ctx context.Context, attempt int) error {
	timer := time.NewTimer(rand.N(time.Millisecond << min(attempt, 6))) //nolint:gosec // not a secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("changing a record: others changed it meanwhile: %w", ctx.Err())
	}
}

// try makes one attempt at an update. A target is listed by its device before
// the record says so, and for as long as it does: a crash between the steps
// leaves at worst a device that lists a target which it has no more.
func (s *Store) try(ctx context.Context, ref targets.Ref, edit targets.Edit, heal bool) (done bool, err error) {
	key := recordKey(ref)
	old, err := s.find(ctx, key)
	if err != nil {
		return false, err
	}
	var current *targets.Target
	var before []byte
	if old != nil {
		current, before, err = s.decode(old, key.Name)
		if err != nil && (!heal || errors.Is(err, targets.ErrNewer)) {
			return false, err
		}
	}
	from := ownerOf(current) // edit may change the record
	next, err := edit(current)
	if err != nil || next == nil && old == nil {
		return err == nil, err
	}
	var data []byte
	if next != nil {
		record, err := targets.Encode(next, ref)
		if err != nil {
			return false, err
		}
		if before != nil && bytes.Equal(before, record) {
			return true, nil
		}
		data = s.ring.Seal(record, s.backend.Place(key))
	}
	to := ownerOf(next)
	if to == from {
		return s.backend.Swap(ctx, key, old, data)
	}
	if err := s.enlist(ctx, to, ref, true); err != nil {
		return false, err
	}
	token := s.tokenOf(ctx, from, ref)
	done, err = s.backend.Swap(ctx, key, old, data)
	if done {
		s.delist(ctx, from, ref, token)
	}
	return done, err
}

// find is get where a value that is not there is missed in a storage that is.
func (s *Store) find(ctx context.Context, key Key) (*Value, error) {
	v, err := s.get(ctx, key)
	if v == nil && err == nil {
		err = s.missing(ctx)
	}
	return v, err
}

func (s *Store) get(ctx context.Context, key Key) (*Value, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.backend.Get(ctx, key)
}

// decode opens and reads the record with a hash.
func (s *Store) decode(v *Value, hash string) (t *targets.Target, record []byte, err error) {
	record, _, err = s.ring.Open(v.Data, s.backend.Place(Key{Records, hash}))
	if err == nil {
		t, err = targets.Decode(record, hash)
	}
	if err != nil {
		return nil, nil, &targets.RecordError{Hash: hash, Err: err}
	}
	return t, record, nil
}

func recordKey(ref targets.Ref) Key { return Key{Records, ref.Hash()} }

// bound ends an operation in time.
func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}

// Remove removes the record of a target without reading it, which is how an
// operator gets rid of a damaged one, of which no more than Ref.Hash may be known.
// It tells whether there was a record. The target is unknown then, so a key source
// may bring it back. A device goes on listing the target.
func (s *Store) Remove(ctx context.Context, hash string) (found bool, err error) {
	if !targets.IsHash(hash) {
		return false, fmt.Errorf("%.80q is not the hash of a record", hash)
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return s.backend.Delete(ctx, Key{Records, hash})
}

// Interface guard
var _ targets.Store = (*Store)(nil)

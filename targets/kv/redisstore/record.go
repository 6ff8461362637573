package redisstore

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// tokenSize is the length of a version and of an entry, in bytes.
const tokenSize = 8

// stored is a record as Redis has it.
type stored struct {
	// version is another for every write. Updates compare it.
	version string

	// entry names the record's entry in the list of its device. Whoever
	// writes a record for a device first makes an entry of its own, and
	// whoever replaces that record removes that entry and no other: so
	// concurrent changes never take away what they do not own.
	entry string

	record []byte // sealed, if the store seals
}

func (r *stored) String() string { return r.version + r.entry + string(r.record) }

func newToken() string {
	token := make([]byte, tokenSize)
	_, _ = rand.Read(token) // never fails
	return string(token)
}

// Load implements targets.Store.
func (s *Store) Load(ctx context.Context, ref targets.Ref) (*targets.Target, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	key := s.targetKey(ref.Hash())
	old, err := s.read(ctx, key)
	if err != nil {
		return nil, err
	}
	if old == nil {
		return nil, targets.ErrNotFound
	}
	t, _, err := s.decodeOf(old, key, ref)
	return t, err
}

// decodeOf opens and reads the record of a target.
func (s *Store) decodeOf(r *stored, key string, ref targets.Ref) (t *targets.Target, record []byte, err error) {
	record, err = s.open(r, key)
	if err == nil {
		t, err = targets.Decode(record, ref)
	}
	if err != nil {
		return nil, nil, &targets.RecordError{Hash: ref.Hash(), Err: err}
	}
	return t, record, nil
}

// read returns what is under a key, nil where there is nothing.
func (s *Store) read(ctx context.Context, key string) (*stored, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	value, err := s.shared.Get(ctx, key).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading from redis: %w", err)
	}
	return parse(value), nil
}

// parse returns what a value says. One that is too short has no record, which
// is damaged therefore.
func parse(value string) *stored {
	if len(value) < 2*tokenSize {
		return &stored{version: value[:min(len(value), tokenSize)]}
	}
	return &stored{version: value[:tokenSize], entry: value[tokenSize : 2*tokenSize], record: []byte(value[2*tokenSize:])}
}

func (s *Store) open(r *stored, key string) ([]byte, error) {
	if r.entry == "" {
		return nil, errors.New("reading from redis: the record is damaged")
	}
	record, _, err := s.ring.Open(r.record, key)
	if err != nil {
		return nil, fmt.Errorf("opening what redis holds: %w", err)
	}
	return record, nil
}

// maxAttempts bounds how often an update starts anew because another sidecar
// has changed the record meanwhile. One of them succeeds each time.
const maxAttempts = 32

// Update implements targets.Store.
func (s *Store) Update(ctx context.Context, ref targets.Ref, change targets.Edit) error {
	return s.update(ctx, ref, change, false)
}

// Heal implements targets.Store. The device of a record that cannot be read
// goes on listing the target.
func (s *Store) Heal(ctx context.Context, ref targets.Ref, change targets.Edit) error {
	return s.update(ctx, ref, change, true)
}

func (s *Store) update(ctx context.Context, ref targets.Ref, change targets.Edit, heal bool) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	key := s.targetKey(ref.Hash())
	unlock, err := s.shared.locks.Lock(ctx, key)
	if err != nil {
		return fmt.Errorf("waiting for another change of the record: %w", err)
	}
	defer unlock()
	for attempt := range maxAttempts {
		done, err := s.try(ctx, key, ref, change, heal)
		if done || err != nil {
			return err
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
	return fmt.Errorf("updating in redis: others changed the record %d times meanwhile", maxAttempts)
}

// pause waits for a random time that grows with the attempts.
func pause(ctx context.Context, attempt int) error {
	longest := time.Millisecond << min(attempt, 6)
	timer := time.NewTimer(mathrand.N(longest)) //nolint:gosec // no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("updating in redis: others changed the record meanwhile: %w", ctx.Err())
	}
}

// try makes one attempt at an update. A crash between its steps leaves at
// worst a device that lists a target which it has no more.
func (s *Store) try(ctx context.Context, key string, ref targets.Ref, change targets.Edit, heal bool) (done bool, err error) {
	old, err := s.read(ctx, key)
	if err != nil {
		return false, err
	}
	var current *targets.Target
	var before []byte
	oldDevice := ""
	if old != nil {
		current, before, err = s.decodeOf(old, key, ref)
		switch {
		case err == nil:
			oldDevice = current.DeviceID // the change may overwrite it
		case !heal || errors.Is(err, targets.ErrNewer):
			return false, err
		}
	}
	next, err := change(current)
	if err != nil {
		return false, err
	}
	if next == nil {
		return s.delete(ctx, key, ref, old, oldDevice)
	}
	after, err := targets.Encode(next, ref)
	if err != nil {
		return false, err
	}
	if before != nil && slices.Equal(before, after) {
		return true, nil
	}
	wanted := &stored{version: newToken(), entry: newToken(), record: s.ring.Seal(after, key)}
	if current != nil && next.DeviceID == oldDevice {
		wanted.entry = old.entry
		return s.swap(ctx, key, old, wanted)
	}
	return s.swapDevice(ctx, key, ref, old, wanted, oldDevice, next.DeviceID)
}

func (s *Store) delete(ctx context.Context, key string, ref targets.Ref, old *stored, device string) (bool, error) {
	if old == nil {
		return true, nil
	}
	done, err := s.swap(ctx, key, old, nil)
	if done && device != "" {
		s.delist(ctx, ref.Namespace, device, old.entry)
	}
	return done, err
}

// swapDevice is swap where the record gets another device.
func (s *Store) swapDevice(ctx context.Context, key string, ref targets.Ref, old, wanted *stored, oldDevice, newDevice string) (bool, error) {
	if newDevice != "" {
		if err := s.enlist(ctx, ref, newDevice, wanted.entry); err != nil {
			return false, err
		}
	}
	done, err := s.swap(ctx, key, old, wanted)
	switch {
	case err != nil: // it may be written all the same
	case done && oldDevice != "":
		s.delist(ctx, ref.Namespace, oldDevice, old.entry)
	case !done && newDevice != "":
		s.delist(ctx, ref.Namespace, newDevice, wanted.entry)
	}
	return done, err
}

//go:embed swap.lua
var swapText string

var swapScript = redis.NewScript(swapText)

// swap replaces a record, unless another sidecar has changed it meanwhile. A
// nil record is none.
func (s *Store) swap(ctx context.Context, key string, old, wanted *stored) (done bool, err error) {
	version, value := "", ""
	if old != nil {
		version = old.version
	}
	if wanted != nil {
		value = wanted.String()
	}
	n, err := swapScript.Run(ctx, s.shared, []string{key}, version, value).Int()
	if err != nil {
		return false, fmt.Errorf("writing to redis: %w", err)
	}
	return n == 1, nil
}

// Remove implements targets.Remover. Its device goes on listing the target.
func (s *Store) Remove(ctx context.Context, ref targets.Ref) error {
	_, err := s.RemoveHash(ctx, ref.Hash())
	return err
}

// RemoveHash implements targets.Remover.
func (s *Store) RemoveHash(ctx context.Context, hash string) (found bool, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	n, err := s.shared.Del(ctx, s.targetKey(hash)).Result()
	if err != nil {
		return false, fmt.Errorf("deleting from redis: %w", err)
	}
	return n > 0, nil
}

// Interface guards
var (
	_ targets.Store   = (*Store)(nil)
	_ targets.Remover = (*Store)(nil)
)

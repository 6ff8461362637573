// Package caddystore keeps dispatch targets in a Caddy storage.
package caddystore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/internal/keylock"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/seal"
)

const (
	// defaultTimeout leaves room for a few calls within a dispatch's deadline.
	defaultTimeout = 2 * time.Second

	// maxCalls bounds the calls under way, those included that the storage
	// does not come back from.
	maxCalls = 128
)

// Store keeps dispatch targets in Caddy's configured storage: the file system
// unless another storage module is configured. Each target is one record, and
// each device another that lists its targets, under keys that are hashes
// beneath `oob/targets` and `oob/devices`; `caddy storage export` backs them up.
//
// Caddy storages know no compare-and-swap. Updates are atomic within one
// process, across config reloads; where several processes share a storage, the
// last writer wins. The storage module must tell "not found" from "down": one
// that reports an outage as not found makes targets unknown for its duration.
// Whoever can write to the storage can swap a device's key unless the records
// are sealed.
type Store struct {
	// The storage to use instead of the one that Caddy is configured with:
	// any `caddy.storage` module.
	StorageRaw json.RawMessage `json:"storage,omitempty" caddy:"namespace=caddy.storage inline_key=module"`

	// How long to wait for each call of the storage. Default: 2s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	seal.Options

	storage  certmagic.Storage
	location string
	ring     *seal.Ring
	calls    chan struct{} // one element for each call under way
	sweeper  *sweeper      // of claims that have expired
}

// CaddyModule returns the Caddy module information.
func (Store) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  targets.StoreNamespace + ".caddy",
		New: func() caddy.Module { return new(Store) },
	}
}

// Provision sets up the store. It does not touch the storage.
func (s *Store) Provision(ctx caddy.Context) error {
	ring, err := seal.Load(s.Options, ctx.Slogger())
	if err != nil {
		return err
	}
	s.ring = ring
	if s.StorageRaw == nil {
		s.start(ctx.Storage())
		return nil
	}
	own := string(s.StorageRaw) // loading forgets it
	module, err := ctx.LoadModule(s, "StorageRaw")
	if err != nil {
		return fmt.Errorf("loading storage module: %w", err)
	}
	converter, ok := module.(caddy.StorageConverter)
	if !ok {
		return fmt.Errorf("storage module %T is no Caddy storage", module)
	}
	storage, err := converter.CertMagicStorage()
	if err != nil {
		return fmt.Errorf("creating storage: %w", err)
	}
	s.start(storage)
	if _, named := storage.(fmt.Stringer); !named {
		s.location += " " + own
	}
	return nil
}

func (s *Store) start(storage certmagic.Storage) {
	s.storage, s.location = storage, fmt.Sprintf("%T", storage)
	if named, ok := storage.(fmt.Stringer); ok {
		s.location += " " + named.String()
	}
	s.calls = make(chan struct{}, maxCalls)
	s.sweeper = new(sweeper)
	if s.Timeout == 0 {
		s.Timeout = caddy.Duration(defaultTimeout)
	}
}

// Validate checks the options.
func (s *Store) Validate() error {
	if s.Timeout < 0 {
		return fmt.Errorf("timeout must be positive, not %s", time.Duration(s.Timeout))
	}
	return nil
}

// locks are those of the process, by storage key: during a reload two stores
// use the same storage.
var locks keylock.Table

// Load implements targets.Store.
func (s *Store) Load(ctx context.Context, ref targets.Ref) (*targets.Target, error) {
	data, err := s.readSealed(ctx, targetKey(ref))
	if err != nil {
		return nil, err
	}
	if data == nil {
		return nil, targets.ErrNotFound
	}
	t, _, err := s.decode(data, ref)
	return t, err
}

// decode opens and reads a record.
func (s *Store) decode(data []byte, ref targets.Ref) (t *targets.Target, record []byte, err error) {
	record, _, err = s.ring.Open(data, targetKey(ref))
	if err == nil {
		t, err = targets.Decode(record, ref)
	}
	if err != nil {
		return nil, nil, &targets.RecordError{Hash: ref.Hash(), Err: err}
	}
	return t, record, nil
}

// Remove implements targets.Remover. Its device goes on listing the target.
func (s *Store) Remove(ctx context.Context, ref targets.Ref) error {
	_, err := s.RemoveHash(ctx, ref.Hash())
	return err
}

// RemoveHash implements targets.Remover.
func (s *Store) RemoveHash(ctx context.Context, hash string) (found bool, err error) {
	if !isHash(hash) {
		return false, fmt.Errorf("%.80q is not the hash of a record", hash)
	}
	key := hashKey(targetPrefix, hash)
	h, err := s.hold(ctx, key)
	if err != nil {
		return false, err
	}
	defer h.release()
	data, err := s.readSealed(ctx, key)
	if data == nil || err != nil {
		return false, err
	}
	return true, s.remove(ctx, h, key)
}

// Location implements targets.Located. A storage of its own that does not tell
// where it is goes by its options.
func (s *Store) Location() string { return s.location }

// Update implements targets.Store. A crash between its steps leaves at worst a
// device that lists a target which it has no more: before a target gets a
// device, the device gets the target, and the other way round in the end.
func (s *Store) Update(ctx context.Context, ref targets.Ref, change targets.Edit) error {
	return s.update(ctx, ref, change, false)
}

// Heal implements targets.Store. The device of a record that cannot be read
// goes on listing the target.
func (s *Store) Heal(ctx context.Context, ref targets.Ref, change targets.Edit) error {
	return s.update(ctx, ref, change, true)
}

func (s *Store) update(ctx context.Context, ref targets.Ref, change targets.Edit, heal bool) error {
	key := targetKey(ref)
	h, err := s.hold(ctx, key)
	if err != nil {
		return err
	}
	defer h.release()
	data, err := s.readSealed(ctx, key)
	if err != nil {
		return err
	}
	var current *targets.Target
	var record []byte
	oldDevice := ""
	if data != nil {
		current, record, err = s.decode(data, ref)
		switch {
		case err == nil:
			oldDevice = current.DeviceID // the change may overwrite it
		case !heal || errors.Is(err, targets.ErrNewer):
			return err
		}
	}
	next, err := change(current)
	if err != nil {
		return err
	}
	newDevice := ""
	if next != nil {
		newDevice = next.DeviceID
	}
	if newDevice != oldDevice && newDevice != "" {
		if err := s.enlist(ctx, ref, newDevice); err != nil {
			return err
		}
	}
	if err := s.put(ctx, h, key, ref, data != nil, record, next); err != nil {
		return err
	}
	if newDevice != oldDevice && oldDevice != "" {
		// The target is stored. An entry too many does no harm.
		_ = s.delist(ctx, ref, oldDevice)
	}
	return nil
}

// put makes next the record of a target. There is one or not; present is that
// which can be read.
func (s *Store) put(ctx context.Context, h *held, key string, ref targets.Ref, there bool, present []byte, next *targets.Target) error {
	if next == nil {
		if !there {
			return nil
		}
		return s.remove(ctx, h, key)
	}
	record, err := targets.Encode(next, ref)
	if err != nil {
		return err
	}
	if present != nil && string(record) == string(present) {
		return nil
	}
	return s.write(ctx, h, key, record)
}

// The keys hold hashes only: ids are the callers', and storages make paths of
// keys. The first byte divides the records among 256 folders.
const (
	targetPrefix = "oob/targets/"
	devicePrefix = "oob/devices/"
)

func targetKey(ref targets.Ref) string { return storageKey(targetPrefix, ref) }

func storageKey(prefix string, ref targets.Ref) string { return hashKey(prefix, ref.Hash()) }

func hashKey(prefix, hash string) string { return prefix + hash[:2] + "/" + hash[2:] }

// read returns the record under a key, nil where there is none.
func (s *Store) read(ctx context.Context, key string) ([]byte, error) {
	data, err := s.readSealed(ctx, key)
	if data == nil || err != nil {
		return nil, err
	}
	record, _, err := s.ring.Open(data, key)
	if err != nil {
		return nil, fmt.Errorf("opening what the storage holds: %w", err)
	}
	return record, nil
}

// readSealed returns what is under a key as it is, nil where there is nothing.
func (s *Store) readSealed(ctx context.Context, key string) ([]byte, error) {
	data, err := s.call(ctx, nil, func(ctx context.Context) ([]byte, error) {
		return s.storage.Load(ctx, key)
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading from storage: %w", err)
	case data == nil:
		return []byte{}, nil
	}
	return data, nil
}

func (s *Store) write(ctx context.Context, h *held, key string, record []byte) error {
	_, err := s.call(ctx, h, func(ctx context.Context) ([]byte, error) {
		return nil, s.storage.Store(ctx, key, s.ring.Seal(record, key))
	})
	if err != nil {
		return fmt.Errorf("writing to storage: %w", err)
	}
	return nil
}

func (s *Store) remove(ctx context.Context, h *held, key string) error {
	_, err := s.call(ctx, h, func(ctx context.Context) ([]byte, error) {
		return nil, s.storage.Delete(ctx, key)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting from storage: %w", err)
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner = (*Store)(nil)
	_ caddy.Validator   = (*Store)(nil)
	_ targets.Store     = (*Store)(nil)
	_ targets.Remover   = (*Store)(nil)

	_ targets.Located = (*Store)(nil)
)

// Package caddystore keeps the values of package kv in a Caddy storage.
package caddystore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"

	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

func init() { caddy.RegisterModule(Store{}) }

// Store keeps dispatch targets in Caddy's configured storage: the file system
// unless another storage module is configured. Each target is one record, and
// each user's device another that lists its targets, under keys that are hashes
// below `oob/targets` and `oob/devices`; `caddy storage export` backs them up.
//
// Caddy storages have no compare-and-swap. Updates are atomic within one
// process, across config reloads; where several processes share a storage, the
// last writer wins. The storage module must tell "not found" from "down": one
// that reports an outage as not found makes targets unknown for its duration.
// Whoever can write to the storage can swap a device's key unless the records
// are sealed.
type Store struct {
	// The storage to use instead of the one that Caddy is configured with:
	// any `caddy.storage` module.
	StorageRaw json.RawMessage `json:"storage,omitempty" caddy:"namespace=caddy.storage inline_key=module"`

	kv.Options

	storage  certmagic.Storage
	location string
	calls    chan struct{}   // one element for each call under way
	life     context.Context // which ends with the configuration
	swept    *atomic.Int64   // when expired short links were removed, as Unix time
}

// CaddyModule returns the Caddy module information.
func (Store) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  targets.StoreNamespace + ".caddy",
		New: func() caddy.Module { return new(Store) },
	}
}

var options = conf.Join(
	conf.Table[Store]{conf.Custom("storage", (*Store).readStorage, nil)},
	conf.Embed(kv.OptionTable, func(s *Store) *kv.Options { return &s.Options }),
)

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store caddy {
//		storage <module> [<args>] { … }
//		timeout <duration>
//		seal <keyfile...>
//		accept_unsealed
//	}
//
// Every option may be missing, and so may the block.
func (s *Store) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return options.Unmarshal(d, s) }

func (s *Store) readStorage(d *caddyfile.Dispenser) (err error) {
	if !d.NextArg() {
		return errors.New("storage takes the name of a storage module, such as file_system")
	}
	_, s.StorageRaw, err = conf.ReadGuest(d, "caddy.storage", "module")
	return err
}

// Provision sets up the store. It does not touch the storage.
func (s *Store) Provision(ctx caddy.Context) error {
	if err := options.Provision(s, ctx.Slogger()); err != nil {
		return err
	}
	storage, own := ctx.Storage(), string(s.StorageRaw) // loading forgets it
	if s.StorageRaw != nil {
		module, err := ctx.LoadModule(s, "StorageRaw")
		if err != nil {
			return fmt.Errorf("loading storage module: %w", err)
		}
		converter, ok := module.(caddy.StorageConverter)
		if !ok {
			return fmt.Errorf("the storage module %T is not a Caddy storage", module)
		}
		if storage, err = converter.CertMagicStorage(); err != nil {
			return fmt.Errorf("creating storage: %w", err)
		}
	}
	s.start(ctx, storage, own)
	return nil
}

// start sets the storage. One that does not tell where it is goes by its
// options.
func (s *Store) start(ctx context.Context, storage certmagic.Storage, own string) {
	if named, ok := storage.(fmt.Stringer); ok {
		own = named.String()
	}
	s.storage, s.location = storage, fmt.Sprintf("caddy %T %s", storage, own)
	s.calls, s.life, s.swept = make(chan struct{}, maxCalls), ctx, new(atomic.Int64)
}

// Location implements kv.Backend.
func (s *Store) Location() string { return s.location }

// Counter implements kv.Backend: Caddy storages cannot count.
func (*Store) Counter() targets.Counter { return nil }

const (
	linkFolder   = "oob/claims" // short links that expire in the same hour are in one folder
	formerFolder = "oob/devices"
)

var folders = map[kv.Kind]string{kv.Records: "oob/targets", kv.Devices: "oob/lists", kv.Links: linkFolder, kv.Marker: "oob/store"}

// Place implements kv.Backend. It is the storage's key. The first digits divide
// the values among folders.
func (s *Store) Place(key kv.Key) string {
	digits := 2
	if key.Kind == kv.Links {
		digits = shortlink.PeriodDigits
	}
	return folders[key.Kind] + "/" + key.Name[:digits] + "/" + key.Name[digits:]
}

// Get implements kv.Backend.
func (s *Store) Get(ctx context.Context, key kv.Key) (*kv.Value, error) {
	return s.get(ctx, s.Place(key))
}

// Swap implements kv.Backend, within this process.
func (s *Store) Swap(ctx context.Context, key kv.Key, old *kv.Value, data []byte) (done bool, err error) {
	place := s.Place(key)
	return call(ctx, s, place, func(ctx context.Context) (bool, error) {
		v, err := s.read(ctx, place)
		switch {
		case err != nil:
			return false, err
		case (v == nil) != (old == nil) || v != nil && v.Version != old.Version:
			return false, nil
		case data == nil:
			err = s.remove(ctx, place)
		default:
			err = s.write(ctx, place, data)
		}
		return err == nil, err
	})
}

// Delete implements kv.Backend.
func (s *Store) Delete(ctx context.Context, key kv.Key) (found bool, err error) {
	v, err := s.taken(ctx, key)
	return v != nil, err
}

// Put implements kv.Backend.
func (s *Store) Put(ctx context.Context, key kv.Key, data []byte, _ time.Time) error {
	place := s.Place(key)
	_, err := call(ctx, s, place, func(ctx context.Context) (none struct{}, err error) {
		return none, s.write(ctx, place, data)
	})
	if last, now := s.swept.Load(), time.Now().Unix(); err == nil && now-last >= sweepPause && s.swept.CompareAndSwap(last, now) {
		go s.sweep() //nolint:contextcheck // it outlives the request
	}
	return err
}

// Take implements kv.Backend. Where several processes share a storage, each of
// them may get the data if they take it at the same moment.
func (s *Store) Take(ctx context.Context, key kv.Key) ([]byte, error) {
	v, err := s.taken(ctx, key)
	if v == nil || err != nil {
		return nil, err
	}
	return v.Data, nil
}

// taken deletes what is under a key and returns it.
func (s *Store) taken(ctx context.Context, key kv.Key) (*kv.Value, error) {
	place := s.Place(key)
	return call(ctx, s, place, func(ctx context.Context) (*kv.Value, error) {
		v, err := s.read(ctx, place)
		if v == nil || err != nil {
			return nil, err
		}
		return v, s.remove(ctx, place)
	})
}

// FormerDevice implements kv.Former.
func (s *Store) FormerDevice(ctx context.Context, name string, open func(data []byte, place string) ([]byte, error)) ([]string, error) {
	place := formerFolder + "/" + name[:2] + "/" + name[2:]
	v, err := s.get(ctx, place)
	if v == nil || err != nil {
		return nil, err
	}
	data, err := open(v.Data, place)
	if err != nil {
		return nil, fmt.Errorf("opening the list of a device's targets: %w", err)
	}
	return kv.DecodeFormer(data, name)
}

// DropFormer implements kv.Former.
func (s *Store) DropFormer(ctx context.Context) error {
	return s.each(ctx, formerFolder, func(place, _ string) error { return s.drop(ctx, place) })
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Store)(nil)
	_ caddyfile.Unmarshaler = (*Store)(nil)
	_ kv.Guest              = (*Store)(nil)
	_ kv.Former             = (*Store)(nil)
)

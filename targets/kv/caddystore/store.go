// Package caddystore keeps the values of package kv in a Caddy storage.
package caddystore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
	strict "github.com/go-json-experiment/json"

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
	calls    chan struct{} // one element for each call under way
	sweeper  *sweeper      // of short links that have expired
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

func (s *Store) readStorage(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return errors.New("storage takes the name of a storage module, such as file_system")
	}
	name := d.Val()
	module, err := caddyfile.UnmarshalModule(d, "caddy.storage."+name)
	if err != nil {
		return conf.Located(err)
	}
	if _, ok := module.(caddy.StorageConverter); !ok {
		return fmt.Errorf("storage: the module caddy.storage.%s is not a Caddy storage", name)
	}
	s.StorageRaw = caddyconfig.JSONModuleObject(module, "module", name, nil)
	return nil
}

// Provision sets up the store. It does not touch the storage.
func (s *Store) Provision(ctx caddy.Context) error {
	if err := options.Provision(s, ctx.Slogger()); err != nil {
		return err
	}
	if s.StorageRaw == nil {
		s.start(ctx.Storage(), "")
		return nil
	}
	own := string(s.StorageRaw) // loading forgets it
	module, err := ctx.LoadModule(s, "StorageRaw")
	if err != nil {
		return fmt.Errorf("loading storage module: %w", err)
	}
	converter, ok := module.(caddy.StorageConverter)
	if !ok {
		return fmt.Errorf("the storage module %T is not a Caddy storage", module)
	}
	storage, err := converter.CertMagicStorage()
	if err != nil {
		return fmt.Errorf("creating storage: %w", err)
	}
	s.start(storage, own)
	return nil
}

// start sets the storage. One that does not tell where it is goes by its
// options.
func (s *Store) start(storage certmagic.Storage, own string) {
	if named, ok := storage.(fmt.Stringer); ok {
		own = named.String()
	}
	s.storage, s.location = storage, fmt.Sprintf("caddy %T %s", storage, own)
	s.calls = make(chan struct{}, maxCalls)
	s.sweeper = new(sweeper)
}

// Cleanup ends the work that goes on outside requests.
func (s *Store) Cleanup() error {
	if s.sweeper != nil {
		s.sweeper.stop()
	}
	return nil
}

// Location implements kv.Backend.
func (s *Store) Location() string { return s.location }

// Counter implements kv.Backend: Caddy storages cannot count.
func (*Store) Counter() targets.SharedCounter { return nil }

const (
	linkFolder   = "oob/claims" // short links that expire in the same hour are in one folder
	formerFolder = "oob/devices"
)

func folderOf(kind kv.Kind) string {
	switch kind {
	case kv.Devices:
		return "oob/lists"
	case kv.Links:
		return linkFolder
	case kv.Marker:
		return "oob/store"
	default:
		return "oob/targets"
	}
}

// Place implements kv.Backend. It is the storage's key. The first digits divide
// the values among folders.
func (s *Store) Place(key kv.Key) string {
	digits := 2
	if key.Kind == kv.Links {
		digits = shortlink.PeriodDigits
	}
	return folderOf(key.Kind) + "/" + key.Name[:digits] + "/" + key.Name[digits:]
}

// Get implements kv.Backend.
func (s *Store) Get(ctx context.Context, key kv.Key) (*kv.Value, error) {
	return s.read(ctx, s.Place(key))
}

// Swap implements kv.Backend, within this process.
func (s *Store) Swap(ctx context.Context, key kv.Key, old *kv.Value, data []byte) (done bool, err error) {
	place := s.Place(key)
	h, err := s.hold(ctx, place)
	if err != nil {
		return false, err
	}
	defer h.release()
	v, err := s.read(ctx, place)
	switch {
	case err != nil:
		return false, err
	case (v == nil) != (old == nil) || v != nil && v.Version != old.Version:
		return false, nil
	case data == nil:
		return true, s.remove(ctx, h, place)
	}
	return true, s.write(ctx, h, place, data)
}

// Delete implements kv.Backend.
func (s *Store) Delete(ctx context.Context, key kv.Key) (found bool, err error) {
	v, err := s.taken(ctx, key)
	return v != nil, err
}

// Put implements kv.Backend.
func (s *Store) Put(ctx context.Context, key kv.Key, data []byte, _ time.Time) error {
	place := s.Place(key)
	h, err := s.hold(ctx, place)
	if err != nil {
		return err
	}
	defer h.release()
	if err := s.write(ctx, h, place, data); err != nil {
		return err
	}
	s.sweeper.start(s.sweep) //nolint:contextcheck // the sweep outlives the request
	return nil
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
	h, err := s.hold(ctx, place)
	if err != nil {
		return nil, err
	}
	defer h.release()
	v, err := s.read(ctx, place)
	if v == nil || err != nil {
		return nil, err
	}
	return v, s.remove(ctx, h, place)
}

// FormerDevice implements kv.Former.
func (s *Store) FormerDevice(ctx context.Context, name string, open func(data []byte, place string) ([]byte, error)) ([]string, error) {
	place := formerFolder + "/" + name[:2] + "/" + name[2:]
	v, err := s.read(ctx, place)
	if v == nil || err != nil {
		return nil, err
	}
	data, err := open(v.Data, place)
	if err != nil {
		return nil, fmt.Errorf("opening the list of a device's targets: %w", err)
	}
	var device struct {
		Schema    int      `json:"schema"`
		Namespace string   `json:"namespace,omitempty"`
		DeviceID  string   `json:"device_id"`
		Targets   []string `json:"targets"`
	}
	err = strict.Unmarshal(data, &device, strict.RejectUnknownMembers(true))
	if err != nil || device.Schema != 1 || (targets.Ref{Namespace: device.Namespace, ID: device.DeviceID}).Hash() != name {
		return nil, errors.New("reading the list of a device's targets: the record is damaged, or that of another device")
	}
	return device.Targets, nil
}

// DropFormer implements kv.Former.
func (s *Store) DropFormer(ctx context.Context) error {
	return s.each(ctx, formerFolder, func(place, _ string) error { return s.remove(ctx, nil, place) })
}

// read returns what is under a key of the storage, nil where there is nothing.
func (s *Store) read(ctx context.Context, place string) (*kv.Value, error) {
	data, err := s.call(ctx, nil, func(ctx context.Context) ([]byte, error) {
		return s.storage.Load(ctx, place)
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading from storage: %w", err)
	}
	sum := sha256.Sum256(data)
	return &kv.Value{Data: append([]byte{}, data...), Version: hex.EncodeToString(sum[:])}, nil
}

func (s *Store) write(ctx context.Context, h *held, place string, data []byte) error {
	_, err := s.call(ctx, h, func(ctx context.Context) ([]byte, error) {
		return nil, s.storage.Store(ctx, place, data)
	})
	if err != nil {
		return fmt.Errorf("writing to storage: %w", err)
	}
	return nil
}

func (s *Store) remove(ctx context.Context, h *held, place string) error {
	_, err := s.call(ctx, h, func(ctx context.Context) ([]byte, error) {
		return nil, s.storage.Delete(ctx, place)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting from storage: %w", err)
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Store)(nil)
	_ caddy.CleanerUpper    = (*Store)(nil)
	_ caddyfile.Unmarshaler = (*Store)(nil)
	_ kv.Guest              = (*Store)(nil)
	_ kv.Former             = (*Store)(nil)
)

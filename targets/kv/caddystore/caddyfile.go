package caddystore

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/targets/kv/seal"
)

func init() {
	caddy.RegisterModule(Store{})
}

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
func (s *Store) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the store's name
	if d.NextArg() {
		return d.Errf("superfluous '%s': 'caddy' takes its options in a block", d.Val())
	}
	for d.NextBlock(0) {
		if done, err := seal.UnmarshalOption(&s.Options, d); done {
			if err != nil {
				return err
			}
			continue
		}
		var err error
		switch option := d.Val(); option {
		case "storage":
			err = s.unmarshalStorage(d)
		case "timeout":
			err = s.unmarshalTimeout(d)
		default:
			err = d.Errf("unrecognized option '%s': use 'storage', 'timeout', 'seal' or 'accept_unsealed'", option)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) unmarshalStorage(d *caddyfile.Dispenser) error {
	if s.StorageRaw != nil {
		return d.Err("'storage' is given twice: remove one")
	}
	if !d.NextArg() {
		return d.Err("'storage' needs the name of a storage module, such as file_system")
	}
	name := d.Val()
	id := "caddy.storage." + name
	module, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return err
	}
	if _, ok := module.(caddy.StorageConverter); !ok {
		return d.Errf("module %s is no Caddy storage: choose another", id)
	}
	s.StorageRaw = caddyconfig.JSONModuleObject(module, "module", name, nil)
	return nil
}

func (s *Store) unmarshalTimeout(d *caddyfile.Dispenser) error {
	if s.Timeout != 0 {
		return d.Err("'timeout' is given twice: remove one")
	}
	if !d.NextArg() {
		return d.Err("'timeout' needs a duration, such as 2s")
	}
	timeout, err := caddy.ParseDuration(d.Val())
	if err != nil || timeout <= 0 {
		return d.Errf("'%s' is not a duration above zero: write it as 2s or 500ms", d.Val())
	}
	s.Timeout = caddy.Duration(timeout)
	if d.NextArg() {
		return d.Errf("superfluous '%s': 'timeout' takes one duration", d.Val())
	}
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Store)(nil)

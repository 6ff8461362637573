package redisstore

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/seal"
)

func init() {
	caddy.RegisterModule(Store{})
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store redis <url...> {
//		username          <name>
//		password          <placeholder>
//		sentinel_master   <name>
//		sentinel_username <name>
//		sentinel_password <placeholder>
//		cluster
//		key_prefix        <text>
//		ca                <file>
//		client_cert       <cert_file> <key_file>
//		server_name       <name>
//		timeout           <duration>
//		seal              <keyfile...>
//		accept_unsealed
//	}
//
// Every option may be missing, and so may the block. Errors quote no argument:
// it may be a secret in the wrong place.
func (s *Store) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the store's name
	if s.Addresses = d.RemainingArgs(); len(s.Addresses) == 0 {
		return d.Err("'redis' needs an address, such as rediss://redis.example.com:6379")
	}
	for d.NextBlock(0) {
		done, err := seal.UnmarshalOption(&s.Options, d)
		if !done {
			err = s.unmarshalOption(d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) unmarshalOption(d *caddyfile.Dispenser) error {
	texts := map[string]*string{
		"username": &s.Username, "password": &s.Password, "sentinel_master": &s.SentinelMaster,
		"sentinel_username": &s.SentinelUsername, "sentinel_password": &s.SentinelPassword,
		"key_prefix": &s.KeyPrefix, "ca": &s.CA, "server_name": &s.ServerName,
	}
	option := d.Val()
	if value, ok := texts[option]; ok {
		return unmarshalText(d, value)
	}
	switch option {
	case "cluster":
		if s.Cluster {
			return d.Err("'cluster' is given twice: remove one")
		}
		s.Cluster = true
		if d.NextArg() {
			return d.Err("'cluster' takes no argument")
		}
		return nil
	case "client_cert":
		args := d.RemainingArgs()
		switch {
		case s.ClientCert != nil:
			return d.Err("'client_cert' is given twice: remove one")
		case len(args) != 2:
			return d.Err("'client_cert' takes two arguments: the file of the certificate and that of its key")
		}
		s.ClientCert = &httpclient.ClientCert{Cert: args[0], Key: args[1]}
		return nil
	case "timeout":
		return s.unmarshalTimeout(d)
	}
	return d.Errf("unrecognized option '%s': use username, password, sentinel_master, sentinel_username, sentinel_password, "+
		"cluster, key_prefix, ca, client_cert, server_name, timeout, seal or accept_unsealed", option)
}

func unmarshalText(d *caddyfile.Dispenser, value *string) error {
	option := d.Val()
	if *value != "" {
		return d.Errf("'%s' is given twice: remove one", option)
	}
	args := d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return d.Errf("'%s' takes one argument", option)
	}
	*value = args[0]
	return nil
}

func (s *Store) unmarshalTimeout(d *caddyfile.Dispenser) error {
	var text string
	if s.Timeout != 0 {
		return d.Err("'timeout' is given twice: remove one")
	}
	if err := unmarshalText(d, &text); err != nil {
		return err
	}
	timeout, err := caddy.ParseDuration(text)
	if err != nil || timeout <= 0 {
		return d.Err("'timeout' takes a duration above zero: write it as 2s or 500ms")
	}
	s.Timeout = caddy.Duration(timeout)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Store)(nil)

// Package redisstore keeps dispatch targets in Redis or Valkey, for several
// sidecars at once, and counts their limits there.
package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/seal"
)

const (
	// defaultTimeout leaves room for a few operations within a dispatch's
	// deadline.
	defaultTimeout = 2 * time.Second

	defaultPrefix = "oob:"
)

// Store keeps dispatch targets in Redis (6.2 and later) or Valkey: a single
// server, one behind Sentinel, or a cluster. Any number of sidecars share it:
// updates are atomic among them, and limits are counted once for all. Records
// of a newer release are left alone by an older one, so that both can run side
// by side during an upgrade.
//
// While Redis is down, read-only, loading or out of memory, targets are
// unavailable, and nothing is dispatched. It recovers by itself.
//
// Redis has to keep what it is given: set `maxmemory-policy noeviction`, since
// an evicted record is an unknown target and an evicted counter a limit that
// starts anew, and `appendonly yes`. With replicas, set `min-replicas-to-write
// 1`: a failover loses what had not reached the new master, such as the
// deletion of a target. An ACL user needs `~oob:* +get +set +del +getdel
// +getrange +hgetall +hset +hdel +zadd +zcard +zscore +zpopmax +zremrangebyscore
// +pexpire +time +eval +evalsha`, in a cluster `+command +cluster|slots` too,
// and for the maintenance commands `+scan +info`.
//
// Whoever can write to Redis can swap a device's key unless the records are
// sealed. The lists of a device's targets are sealed entry by entry: who can
// write to Redis can still remove entries, so that a change of the device does
// not reach its targets.
type Store struct {
	// Where Redis is: `redis://host:6379`, `rediss://host:6379` for TLS, or
	// `unix:///path`; of Sentinel with `sentinel_master`, several of a
	// cluster with `cluster`. A path such as `/1` is the number of the
	// database. Placeholders are resolved at load.
	Addresses []string `json:"addresses,omitempty"`

	// The ACL user. Placeholders are resolved. Default: Redis's default user
	Username string `json:"username,omitempty"`

	// The password, best as a placeholder such as `{file./path}`, which is
	// resolved for each new connection. Default: none
	Password string `json:"password,omitempty"`

	// The name of the master that the Sentinels at the addresses watch.
	// Default: none, the addresses are Redis's own
	SentinelMaster string `json:"sentinel_master,omitempty"`

	// The ACL user at the Sentinels. Placeholders are resolved at load.
	SentinelUsername string `json:"sentinel_username,omitempty"`

	// The password at the Sentinels. Placeholders are resolved at load.
	SentinelPassword string `json:"sentinel_password,omitempty"`

	// The addresses are of nodes of a cluster, which tell the others. One
	// node of the cluster counts for all limits.
	Cluster bool `json:"cluster,omitempty"`

	// What every key begins with: letters, digits and `:._/-`. Default:
	// `oob:`
	KeyPrefix string `json:"key_prefix,omitempty"`

	// File of PEM certificates to trust in place of the system's. Read when
	// the configuration is loaded.
	CA string `json:"ca,omitempty"`

	// The certificate to present to Redis. Changed files are used for new
	// connections without a restart.
	ClientCert *httpclient.ClientCert `json:"client_cert,omitempty"`

	// The name that Redis's certificate has to be for. Default: the host that
	// is connected to, which Sentinels and clusters often name by its IP
	// address
	ServerName string `json:"server_name,omitempty"`

	// How long one operation may take, with everything that it asks of
	// Redis. Default: 2s
	Timeout caddy.Duration `json:"timeout,omitempty"`

	seal.Options

	shared    *shared
	sharedKey string // set while shared is held
	location  string
	ring      *seal.Ring
	logger    *slog.Logger
}

// CaddyModule returns the Caddy module information.
func (Store) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  targets.StoreNamespace + ".redis",
		New: func() caddy.Module { return new(Store) },
	}
}

// Provision sets up the store. It connects to nothing.
func (s *Store) Provision(ctx caddy.Context) error {
	s.logger = ctx.Slogger()
	if s.KeyPrefix == "" {
		s.KeyPrefix = defaultPrefix
	}
	if s.Timeout == 0 {
		s.Timeout = caddy.Duration(defaultTimeout)
	}
	if err := s.check(); err != nil {
		return err
	}
	ring, err := seal.Load(s.Options, s.logger)
	if err != nil {
		return err
	}
	s.ring = ring
	c, err := s.connection()
	if err != nil {
		return err
	}
	where := slices.Sorted(slices.Values(c.Addresses))
	s.location = fmt.Sprintf("redis %q %d %q %q", where, c.Database, c.Master, s.KeyPrefix)
	return s.share(c)
}

// Location implements targets.Located.
func (s *Store) Location() string { return s.location }

var goodPrefix = regexp.MustCompile(`^[A-Za-z0-9:._/-]+$`)

func (s *Store) check() error {
	switch {
	case s.Timeout < 0:
		return fmt.Errorf("timeout must be positive, not %s", time.Duration(s.Timeout))
	case !goodPrefix.MatchString(s.KeyPrefix):
		return fmt.Errorf("key_prefix %q: it takes letters, digits and :._/-", s.KeyPrefix)
	case s.Cluster && s.SentinelMaster != "":
		return errors.New("cluster and sentinel_master do not go together")
	case s.SentinelMaster == "" && (s.SentinelUsername != "" || s.SentinelPassword != ""):
		return errors.New("sentinel_username and sentinel_password have no meaning without sentinel_master")
	case s.Username != "" && s.Password == "":
		return errors.New("username has no meaning without password")
	case s.SentinelUsername != "" && s.SentinelPassword == "":
		return errors.New("sentinel_username has no meaning without sentinel_password")
	}
	return nil
}

// Cleanup gives back what Provision took.
func (s *Store) Cleanup() error {
	if s.sharedKey == "" {
		return nil
	}
	_, err := clients.Delete(s.sharedKey)
	s.sharedKey = ""
	return err
}

// bound ends an operation in time.
func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(s.Timeout))
}

func (s *Store) targetKey(hash string) string { return s.KeyPrefix + "target:" + hash }

func (s *Store) deviceKey(namespace, deviceID string) string {
	return s.KeyPrefix + "device:" + targets.Ref{Namespace: namespace, ID: deviceID}.Hash()
}

// resolve is placeholder.Resolve for an option that may be missing.
func resolve(option, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	return placeholder.Resolve(option, text)
}

// Interface guards
var (
	_ caddy.Provisioner  = (*Store)(nil)
	_ caddy.CleanerUpper = (*Store)(nil)
	_ targets.Located    = (*Store)(nil)
)

package redisstore

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

func init() { caddy.RegisterModule(Store{}) }

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
// +getrange +hgetall +zadd +zcard +zscore +zpopmax +zremrangebyscore
// +pexpire +time +eval +evalsha`, with `replicas` `+wait`, in a cluster `+command +cluster|slots` too,
// and for the maintenance commands `+scan`.
//
// Whoever can write to Redis can swap a device's key unless the records are
// sealed.
type Store struct {
	// Where Redis is: `redis://host:6379`, `rediss://host:6379` for TLS, or
	// `unix:///path`; of Sentinel with `sentinel_master`, several of a
	// cluster with `cluster`. A path such as `/1` is the number of the
	// database. Placeholders are resolved at load.
	Addresses []string `json:"addresses,omitempty"`

	// The ACL user. Placeholders are resolved at load. Default: Redis's default
	// user
	Username string `json:"username,omitempty"`

	// The password, best as a placeholder. Of `{file./path}` the file's present
	// content is used for each new connection. Default: none
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

	// How many replicas must have a write before it counts (`WAIT`), and how
	// long they may take. Where fewer have it the store is unavailable: a
	// change is not forwarded to nevisFIDO. Default: none, 1s
	Replicas        int            `json:"replicas,omitempty"`
	ReplicasTimeout caddy.Duration `json:"replicas_timeout,omitempty"`

	kv.Options

	shared    *shared
	sharedKey string // set while shared is held
	location  string
}

// CaddyModule returns the Caddy module information.
func (Store) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  targets.StoreNamespace + ".redis",
		New: func() caddy.Module { return new(Store) },
	}
}

var options = conf.Join(
	conf.Table[Store]{
		conf.Argument(conf.Resolved(conf.Words("addresses", func(s *Store) *[]string { return &s.Addresses }, checkAddress), (*Store).resolveAddresses)),
		conf.Placeholder("username", func(s *Store) *string { return &s.Username }, nil),
		conf.Text("password", func(s *Store) *string { return &s.Password }, checkPassword),
		conf.Placeholder("sentinel_master", func(s *Store) *string { return &s.SentinelMaster }, nil),
		conf.Placeholder("sentinel_username", func(s *Store) *string { return &s.SentinelUsername }, nil),
		conf.Secret("sentinel_password", func(s *Store) *string { return &s.SentinelPassword }, nil),
		conf.Flag("cluster", func(s *Store) *bool { return &s.Cluster }),
		conf.Text("key_prefix", func(s *Store) *string { return &s.KeyPrefix }, checkPrefix),
		conf.Path("ca", func(s *Store) *string { return &s.CA }),
		httpclient.ClientCertOption(func(s *Store) **httpclient.ClientCert { return &s.ClientCert }),
		conf.Placeholder("server_name", func(s *Store) *string { return &s.ServerName }, nil),
		conf.Custom("replicas", (*Store).readReplicas, nil),
	},
	conf.Embed(kv.OptionTable, func(s *Store) *kv.Options { return &s.Options }),
)

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
//		replicas          <n> [<timeout>]
//		timeout           <duration>
//		seal              <keyfile...>
//		accept_unsealed
//	}
//
// Every option may be missing, and so may the block. Errors quote no argument:
// it may be a secret in the wrong place.
func (s *Store) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return options.Unmarshal(d, s) }

// Defaults and bounds.
const (
	defaultPrefix   = "oob:"
	defaultReplicas = time.Second
	maxReplicas     = 10
)

func (s *Store) readReplicas(d *caddyfile.Dispenser) (err error) {
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 2 {
		return errors.New("replicas takes a number, and how long they may take, such as: replicas 1 500ms")
	}
	if s.Replicas, err = strconv.Atoi(args[0]); err != nil || s.Replicas == 0 {
		s.Replicas = -1 // which Check refuses
	}
	if len(args) == 1 {
		return nil
	}
	s.ReplicasTimeout, err = conf.ParseDuration("replicas", args[1])
	return err
}

var goodPrefix = regexp.MustCompile(`^[A-Za-z0-9:._/-]+$`)

func checkPrefix(prefix string) error {
	if !goodPrefix.MatchString(prefix) {
		return errors.New("it takes letters, digits and :._/-")
	}
	return nil
}

// Check implements conf.Checker.
func (s *Store) Check() error {
	timeout := time.Duration(cmp.Or(s.Timeout, caddy.Duration(kv.DefaultTimeout)))
	switch {
	case len(s.Addresses) == 0:
		return conf.Errorf("addresses", "addresses: name Redis, such as rediss://redis.example.com:6379")
	case len(s.Addresses) > 1 && s.SentinelMaster == "" && !s.Cluster:
		return conf.Errorf("addresses", "several addresses are those of Sentinels, with sentinel_master, or of a cluster, with cluster")
	case s.Cluster && s.SentinelMaster != "":
		return conf.Errorf("cluster", "cluster and sentinel_master do not go together")
	case s.SentinelMaster == "" && s.SentinelUsername != "":
		return conf.Errorf("sentinel_username", "sentinel_username has no meaning without sentinel_master")
	case s.SentinelMaster == "" && s.SentinelPassword != "":
		return conf.Errorf("sentinel_password", "sentinel_password has no meaning without sentinel_master")
	case s.Username != "" && s.Password == "":
		return conf.Errorf("username", "username has no meaning without password")
	case s.SentinelUsername != "" && s.SentinelPassword == "":
		return conf.Errorf("sentinel_username", "sentinel_username has no meaning without sentinel_password")
	case s.Replicas < 0 || s.Replicas > maxReplicas:
		return conf.Errorf("replicas", "replicas takes a number from 1 to %d", maxReplicas)
	case s.ReplicasTimeout < 0 || s.ReplicasTimeout > 0 && s.Replicas == 0:
		return conf.Errorf("replicas", "replicas: the time for the replicas must be longer than zero, and needs their number")
	case s.Replicas > 0 && time.Duration(cmp.Or(s.ReplicasTimeout, caddy.Duration(defaultReplicas))) >= timeout:
		return conf.Errorf("replicas", "replicas: the time for the replicas must be shorter than timeout, which is %s", timeout)
	}
	known := slices.DeleteFunc(slices.Clone(s.Addresses), func(text string) bool { return strings.Contains(text, "{") })
	if len(known) > 0 {
		if _, err := s.endpoint(known); err != nil {
			return conf.Errorf("addresses", "%w", err)
		}
	}
	return s.Options.Check()
}

// Provision sets up the store. It connects to nothing.
func (s *Store) Provision(ctx caddy.Context) error {
	logger := ctx.Slogger()
	if err := options.Provision(s, logger); err != nil {
		return err
	}
	key, newClient, err := s.prepare(logger)
	if err != nil {
		return err
	}
	client, _, err := clients.LoadOrNew(key, func() (caddy.Destructor, error) { return &shared{newClient()}, nil })
	if err != nil {
		return err
	}
	s.shared, s.sharedKey = client.(*shared), key
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

// Interface guards
var (
	_ caddy.Provisioner     = (*Store)(nil)
	_ caddy.CleanerUpper    = (*Store)(nil)
	_ caddyfile.Unmarshaler = (*Store)(nil)
	_ conf.Checker          = (*Store)(nil)
)

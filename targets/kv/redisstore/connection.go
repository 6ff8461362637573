package redisstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// clients are shared by stores of the same configuration, so that a reload
// keeps the connections.
var clients = caddy.NewUsagePool()

type shared struct{ redis.UniversalClient }

// Destruct implements caddy.Destructor.
func (s shared) Destruct() error { return s.Close() }

// connection is what a client is made of.
type connection struct {
	Addresses          []string
	Database           int
	TLS                bool
	CA                 []byte
	ClientCert         *httpclient.ClientCert
	ServerName         string
	Username, Password string // placeholders are left in
	Master             string
	MasterUsername     string
	MasterPassword     string
	Cluster            bool
	Timeout            time.Duration
}

// share takes the client of a connection, which is made if there is none.
func (s *Store) share(c *connection) error {
	text, err := json.Marshal(c) //nolint:gosec // the password in it goes no further than the hash
	if err != nil {
		return err
	}
	hash := sha256.Sum256(text)
	key := hex.EncodeToString(hash[:])
	value, _, err := clients.LoadOrNew(key, func() (caddy.Destructor, error) {
		client, err := c.client(s.logger)
		if err != nil {
			return nil, err
		}
		return &shared{client}, nil
	})
	if err != nil {
		return err
	}
	s.shared, s.sharedKey = value.(*shared), key
	return nil
}

// connection resolves the placeholders of the options.
func (s *Store) connection() (*connection, error) {
	c := &connection{
		Username: s.Username, Password: s.Password, Master: s.SentinelMaster, Cluster: s.Cluster,
		ClientCert: s.ClientCert, Timeout: time.Duration(s.Timeout),
	}
	if err := s.setAddresses(c); err != nil {
		return nil, err
	}
	var err error
	if s.Password != "" { // to find out early
		_, err = placeholder.ResolveSecret("password", s.Password, s.logger)
	}
	if err == nil && s.SentinelPassword != "" {
		c.MasterPassword, err = placeholder.ResolveSecret("sentinel_password", s.SentinelPassword, s.logger)
	}
	if err != nil {
		return nil, err
	}
	if c.MasterUsername, err = resolve("sentinel_username", s.SentinelUsername); err != nil {
		return nil, err
	}
	if _, err = resolve("username", s.Username); err != nil {
		return nil, err
	}
	return c, s.setTLS(c)
}

// resolve is placeholder.Resolve for an option that may be missing.
func resolve(option, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	return placeholder.Resolve(option, text)
}

func (s *Store) setAddresses(c *connection) error {
	for i, text := range s.Addresses {
		value, err := placeholder.Resolve("addresses", text)
		if err != nil {
			return err
		}
		a, err := parseAddress(value, c.Master != "")
		if err != nil {
			return fmt.Errorf("address %d: %w", i+1, err)
		}
		if i > 0 && (a.tls != c.TLS || a.database != c.Database) {
			return errors.New("addresses: all of them need the same scheme and database")
		}
		if c.Cluster && a.database != 0 {
			return errors.New("addresses: a cluster has no database but 0")
		}
		if !a.tls && !a.local {
			s.logger.Warn("records and passwords go to Redis without encryption; use rediss://", slog.String("address", a.text))
		}
		c.Addresses, c.TLS, c.Database = append(c.Addresses, a.text), a.tls, a.database
	}
	return nil
}

type address struct {
	text     string // host:port or the path of a socket
	database int
	tls      bool
	local    bool
}

// parseAddress reads an address. Its errors do not quote it: somebody may have
// put a password in.
func parseAddress(text string, sentinel bool) (address, error) {
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.RawQuery != "" || u.Fragment != "" {
		return address{}, errors.New("it is not a URL such as rediss://redis.example.com:6379")
	}
	if u.User != nil {
		return address{}, errors.New("user and password belong into the options username and password")
	}
	if u.Scheme == "unix" && u.Host == "" && len(u.Path) > 1 {
		return address{text: u.Path, local: true}, nil
	}
	if u.Scheme != "redis" && u.Scheme != "rediss" || u.Hostname() == "" {
		return address{}, errors.New("it has to be redis://host:port, rediss://host:port or unix:///path")
	}
	port := u.Port()
	switch {
	case port == "" && sentinel:
		port = "26379"
	case port == "":
		port = "6379"
	}
	a := address{text: net.JoinHostPort(u.Hostname(), port), tls: u.Scheme == "rediss", local: local(u.Hostname())}
	if path := strings.TrimPrefix(u.Path, "/"); path != "" {
		if a.database, err = strconv.Atoi(path); err != nil || a.database < 0 {
			return address{}, errors.New("its path is not the number of a database")
		}
	}
	return a, nil
}

func local(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// client makes a client, which connects when it is used first.
func (c *connection) client(logger *slog.Logger) (redis.UniversalClient, error) {
	useLogger()
	tlsConfig, err := c.tlsConfig(logger)
	if err != nil {
		return nil, err
	}
	o := &redis.UniversalOptions{
		Addrs: c.Addresses, DB: c.Database, Dialer: dialer(tlsConfig, c.Timeout),
		MasterName: c.Master, SentinelUsername: c.MasterUsername, SentinelPassword: c.MasterPassword,
		Protocol: 2, DisableIdentity: true, PipelinePoolSize: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		ContextTimeoutEnabled:    true,
		DialTimeout:              c.Timeout, ReadTimeout: c.Timeout, WriteTimeout: c.Timeout, PoolTimeout: c.Timeout,
		DialerRetries: 1, // commands are retried as a whole
		MaxRetries:    3, MaxRetryBackoff: 100 * time.Millisecond,
	}
	if c.Password != "" {
		o.CredentialsProviderContext = (&credentials{username: c.Username, password: c.Password}).current
	}
	switch {
	case c.Master != "":
		return redis.NewFailoverClient(o.Failover()), nil
	case c.Cluster:
		return redis.NewClusterClient(o.Cluster()), nil
	}
	return redis.NewClient(o.Simple()), nil
}

// credentials are resolved for each connection: the file of a password may
// have changed. If they cannot be, the last good ones stay in force.
type credentials struct {
	username, password string

	mu                         sync.Mutex
	lastUsername, lastPassword string
}

func (c *credentials) current(context.Context) (username, password string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	username, userErr := resolve("username", c.username)
	password, err = resolve("password", c.password)
	switch err = errors.Join(userErr, err); {
	case err == nil:
		c.lastUsername, c.lastPassword = username, password
	case c.lastPassword == "":
		return "", "", err
	}
	return c.lastUsername, c.lastPassword, nil
}

// useLogger keeps the client's messages out of the standard error output.
var useLogger = sync.OnceFunc(func() { redis.SetLogger(redisLogger{}) })

type redisLogger struct{}

// Printf logs what the client tells, at debug level: an operation that fails
// for it says so itself.
func (redisLogger) Printf(_ context.Context, format string, v ...any) {
	caddy.Log().Named(targets.StoreNamespace+".redis").Sugar().Debugf(format, v...)
}

package redisstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/internal/watchedfile"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// clients are shared by stores with the same options of the connection, so that
// a reload keeps the connections.
var clients = caddy.NewUsagePool()

type shared struct{ redis.UniversalClient }

// Destruct implements caddy.Destructor.
func (s shared) Destruct() error { return s.Close() }

// endpoint is where Redis, a cluster or its Sentinels are.
type endpoint struct {
	addresses []string // host:port, or the path of a socket
	database  int
	tls       bool
	exposed   bool // others than this machine see what is not encrypted
}

func checkAddress(text string) error { return placeholder.Check("addresses", text, nil) }

func checkPassword(text string) error { return placeholder.Check("password", text, nil) }

func (s *Store) resolveAddresses(*slog.Logger) error {
	addresses := make([]string, len(s.Addresses))
	for i, text := range s.Addresses {
		value, err := placeholder.ResolveURL("addresses", text)
		if err != nil {
			return err
		}
		addresses[i] = value
	}
	s.Addresses = addresses
	return nil
}

// endpoint reads addresses without placeholders.
func (s *Store) endpoint(texts []string) (all endpoint, err error) {
	defaultPort := "6379"
	if s.SentinelMaster != "" {
		defaultPort = "26379"
	}
	for i, text := range texts {
		u, err := parseAddress(text)
		if err != nil {
			return all, fmt.Errorf("address %d: %w", i+1, err)
		}
		database, _ := strconv.Atoi(strings.Trim(u.Path, "/")) // parseAddress knows that it is a number, if any
		if i > 0 && (all.tls != (u.Scheme == "rediss") || all.database != database) {
			return all, errors.New("addresses: all of them need the same scheme and database")
		}
		all.tls, all.database = u.Scheme == "rediss", database
		if u.Scheme == "unix" {
			all.addresses = append(all.addresses, u.Path)
			continue
		}
		ip, err := netip.ParseAddr(u.Hostname())
		all.exposed = all.exposed || !all.tls && u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback())
		all.addresses = append(all.addresses, net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), defaultPort)))
	}
	switch {
	case s.Cluster && all.database != 0:
		return all, errors.New("addresses: a cluster has no database but 0")
	case !all.tls && (s.CA != "" || s.ClientCert != nil || s.ServerName != ""):
		return all, errors.New("ca, client_cert and server_name have no meaning without TLS: use rediss:// addresses")
	}
	return all, nil
}

// parseAddress reads an address. Its errors do not quote it: somebody may have
// put a password in.
func parseAddress(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("it is not a URL such as rediss://redis.example.com:6379")
	case u.User != nil:
		return nil, errors.New("user and password belong into the options username and password")
	case u.Scheme == "unix" && u.Host == "" && len(u.Path) > 1:
		return u, nil
	case u.Scheme != "redis" && u.Scheme != "rediss" || u.Hostname() == "":
		return nil, errors.New("it has to be redis://host:port, rediss://host:port or unix:///path")
	}
	if database := strings.TrimPrefix(u.Path, "/"); database != "" {
		if _, err := strconv.ParseUint(database, 10, 31); err != nil {
			return nil, errors.New("its path is not the number of a database")
		}
	}
	return u, nil
}

// prepare reads the files of the resolved options. It returns a key that is the
// same for the same connections (it holds passwords), and what makes their
// client, which connects when it is used first.
func (s *Store) prepare(logger *slog.Logger) (key string, newClient func() redis.UniversalClient, err error) {
	where, err := s.endpoint(s.Addresses)
	if err != nil {
		return "", nil, err
	}
	if where.exposed {
		logger.Warn("records and passwords go to Redis without encryption; use rediss://", slog.Any("addresses", where.addresses))
	}
	s.KeyPrefix = cmp.Or(s.KeyPrefix, defaultPrefix)
	s.ReplicasTimeout = cmp.Or(s.ReplicasTimeout, caddy.Duration(defaultReplicas))
	s.location = fmt.Sprintf("redis %q %d %q %q", slices.Sorted(slices.Values(where.addresses)), where.database, s.SentinelMaster, s.KeyPrefix)

	timeout := time.Duration(s.Timeout)
	o := &redis.UniversalOptions{
		Addrs: where.addresses, DB: where.database,
		MasterName: s.SentinelMaster, SentinelUsername: s.SentinelUsername, SentinelPassword: s.SentinelPassword,
		Protocol: 2, DisableIdentity: true, PipelinePoolSize: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		ContextTimeoutEnabled:    true,
		DialTimeout:              timeout, ReadTimeout: timeout, WriteTimeout: timeout, PoolTimeout: timeout,
		DialerRetries: 1, // commands are retried as a whole
		MaxRetries:    3, MaxRetryBackoff: 100 * time.Millisecond,
	}
	if s.Password != "" {
		password, err := watchedfile.OpenSecret("password", s.Password, watchedfile.ParseLine, logger)
		if err != nil {
			return "", nil, err
		}
		o.CredentialsProvider = func() (string, string) { return s.Username, password.Value() }
	}
	var ca []byte
	o.Dialer = dialer(nil, timeout)
	if where.tls {
		config, err := httpclient.NewTLS(&httpclient.Options{CA: s.CA, ClientCert: s.ClientCert}, logger)
		if err != nil {
			return "", nil, err
		}
		config.ServerName = s.ServerName
		o.Dialer = dialer(config, timeout)
		if s.CA != "" {
			if ca, err = os.ReadFile(s.CA); err != nil {
				return "", nil, fmt.Errorf("ca: %w", err)
			}
		}
	}
	text, err := json.Marshal([]any{
		s.Addresses, s.Username, s.Password, s.SentinelMaster, s.SentinelUsername, s.SentinelPassword,
		s.Cluster, ca, s.ClientCert, s.ServerName, s.Timeout,
	})
	return string(text), func() redis.UniversalClient { return s.newClient(o) }, err
}

func (s *Store) newClient(o *redis.UniversalOptions) redis.UniversalClient {
	useLogger()
	switch {
	case s.SentinelMaster != "":
		return redis.NewFailoverClient(o.Failover())
	case s.Cluster:
		return redis.NewClusterClient(o.Cluster())
	}
	return redis.NewClient(o.Simple())
}

// useLogger keeps the client's messages out of the standard error output.
var useLogger = sync.OnceFunc(func() { redis.SetLogger(redisLogger{}) })

type redisLogger struct{}

// Printf logs what the client tells, at debug level: an operation that fails
// for it says so itself.
func (redisLogger) Printf(_ context.Context, format string, v ...any) {
	caddy.Log().Named(targets.StoreNamespace+".redis").Sugar().Debugf(format, v...)
}

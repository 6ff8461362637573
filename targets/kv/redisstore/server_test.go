package redisstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

// The server of all tests that do nothing to it. They are kept apart by the prefix
// of their keys.
var (
	commonFolder string
	commonServer *server
	commonStart  sync.Once
)

func common(t testing.TB) *server {
	t.Helper()
	program := testservice.Need(t, "redis-server")
	commonStart.Do(func() {
		socket := filepath.Join(commonFolder, "socket")
		commonServer = &server{Process: &testservice.Process{
			Dir: commonFolder, Address: socket,
			Args:    []string{program, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", commonFolder},
			Healthy: func() bool { _, err := os.Stat(socket); return err == nil },
		}, url: "unix://" + socket}
		commonServer.Start(t)
	})
	return commonServer
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "oob-redis")
	if err != nil {
		panic(err)
	}
	commonFolder = dir
	code := m.Run()
	if commonServer != nil {
		commonServer.Kill()
	}
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// server is a redis-server in a folder of its own.
type server struct {
	*testservice.Process
	url      string
	password string // of the administrator
}

// start starts a server, with further arguments.
func start(t testing.TB, args ...string) *server {
	t.Helper()
	s := &server{Process: testservice.NewRedis(t)}
	s.url = "redis://" + s.Address
	s.Args = append(s.Args, args...)
	s.Start(t)
	return s
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

func (s *server) port() string { return portOf(s.Address) }

func freePort(t testing.TB) string { return portOf(testservice.FreeAddress(t)) }

// clusterPort is where the nodes of a cluster talk to each other.
func (s *server) clusterPort() string {
	return s.Args[slices.Index(s.Args, "--cluster-port")+1]
}

// do runs a command as administrator.
func (s *server) do(t testing.TB, args ...any) any {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Address, Password: s.password})
	defer c.Close()
	result, err := c.Do(context.Background(), args...).Result()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return result
}

// config is the store's configuration for a server, with a prefix that no
// other test has, and with much time: most tests are not about time.
func config(s *server) *Store {
	return &Store{
		Addresses: []string{s.url}, KeyPrefix: "oob:" + strings.ToLower(rand.Text()[:10]) + ":",
		Options: kv.Options{Timeout: caddy.Duration(time.Minute)},
	}
}

// sidecar is a store that has connections of its own, as in a process of its
// own.
type sidecar struct {
	*kv.Store
	*shared
	redis *Store
}

// TakeAll is that of the counter.
func (s *sidecar) TakeAll(ctx context.Context, counts []targets.Count) (int, error) {
	return s.redis.TakeAll(ctx, counts)
}

// Get would be ambiguous.
func (s *sidecar) Get(ctx context.Context, id string) ([]byte, error) { return s.Store.Get(ctx, id) }

// sidecars counts them: no two have the same locks.
var sidecars atomic.Int64

// open makes a sidecar.
func open(t testing.TB, s *Store) *sidecar {
	t.Helper()
	testservice.Need(t, "redis-server")
	fresh, logger := *s, slog.New(slog.DiscardHandler)
	if err := options.Provision(&fresh, logger); err != nil {
		t.Fatal(err)
	}
	_, newClient, err := fresh.prepare(logger)
	if err != nil {
		t.Fatal(err)
	}
	client := newClient()
	fresh.shared, fresh.location = &shared{client}, fmt.Sprint("sidecar ", sidecars.Add(1))
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return &sidecar{kv.New(&fresh, nil, time.Duration(s.Timeout)), fresh.shared, &fresh}
}

func recordKey(ref targets.Ref) kv.Key { return kv.Key{Kind: kv.Records, Name: ref.Hash()} }

func increment(current *targets.Target) (*targets.Target, error) {
	if current == nil {
		return nil, nil
	}
	current.Modified++
	return current, nil
}

// eventually waits for something that a server does in its own time.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	testservice.Until(t, done, func() string { return "it was " + what })
}

func fill(t testing.TB, s *sidecar, refs []targets.Ref) {
	t.Helper()
	for _, ref := range refs {
		if err := s.Update(t.Context(), ref, kvtest.To(kvtest.Target(ref))); err != nil {
			t.Fatal(err)
		}
	}
}

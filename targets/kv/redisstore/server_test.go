package redisstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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

// common is the server of all tests that do nothing to it. They are kept apart
// by the prefix of their keys.
var common *server

func TestMain(m *testing.M) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		os.Exit(m.Run()) // the tests that need it say so
	}
	dir, err := os.MkdirTemp("", "oob-redis")
	if err != nil {
		panic(err)
	}
	socket := filepath.Join(dir, "socket")
	common = &server{dir: dir, url: "unix://" + socket, addr: socket, args: []string{
		"--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir,
	}}
	common.launch()
	code := m.Run()
	common.kill()
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
	dir, url, addr string
	port           int
	args           []string
	process        *exec.Cmd
	admin          *redis.Options // of an administrator; nil: address alone
}

// start starts a server on a free port of the loopback interface, with
// further arguments, and ends it with the test.
func start(t testing.TB, args ...string) *server {
	t.Helper()
	testservice.Need(t, "redis-server")
	s := &server{dir: t.TempDir(), port: freePort(t)}
	s.addr = net.JoinHostPort("127.0.0.1", portText(s.port))
	s.url = "redis://" + s.addr
	s.args = append([]string{"--port", portText(s.port), "--bind", "127.0.0.1", "--save", "", "--dir", s.dir}, args...)
	s.launch()
	t.Cleanup(s.kill)
	return s
}

func freePort(t testing.TB) int {
	t.Helper()
	return int(netip.MustParseAddrPort(testservice.FreeAddress(t)).Port())
}

func portText(port int) string { return strconv.Itoa(port) }

// clusterPort is where the nodes of a cluster talk to each other.
func (s *server) clusterPort() string {
	return s.args[slices.Index(s.args, "--cluster-port")+1]
}

// launch starts the process and waits until it accepts connections.
func (s *server) launch() {
	s.process = exec.Command("redis-server", s.args...)
	out := new(bytes.Buffer)
	s.process.Stdout = out
	if err := s.process.Start(); err != nil {
		panic(err)
	}
	network := "tcp"
	if s.port == 0 {
		network = "unix"
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := net.Dial(network, s.addr)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			s.kill()
			panic("redis-server does not start: " + out.String())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *server) kill() {
	_ = s.process.Process.Kill() // it may have ended
	_ = s.process.Wait()
}

func (s *server) signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if err := s.process.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// do runs a command as administrator.
func (s *server) do(t testing.TB, args ...any) any {
	t.Helper()
	o := s.admin
	if o == nil {
		o = &redis.Options{Addr: s.addr}
	}
	c := redis.NewClient(o)
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
	if s == nil { // there is no redis-server, as open will say
		s = new(server)
	}
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
func open(t testing.TB, s *Store) *sidecar { return sealed(t, s) }

func sealed(t testing.TB, s *Store, keys ...byte) *sidecar {
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
	return &sidecar{kv.New(&fresh, ring(t, keys...), time.Duration(s.Timeout)), fresh.shared, &fresh}
}

func ring(t testing.TB, keys ...byte) *kv.Ring {
	t.Helper()
	if len(keys) == 0 {
		return nil
	}
	return kvtest.Ring(t, keys...)
}

func recordKey(ref targets.Ref) kv.Key { return kv.Key{Kind: kv.Records, Name: ref.Hash()} }

func to(next *targets.Target) targets.Edit {
	return func(*targets.Target) (*targets.Target, error) { return next, nil }
}

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
	deadline := time.Now().Add(30 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func fill(t testing.TB, s *sidecar, refs []targets.Ref) {
	t.Helper()
	for _, ref := range refs {
		if err := s.Update(t.Context(), ref, to(kvtest.Target(ref))); err != nil {
			t.Fatal(err)
		}
	}
}

package redisstore

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

// provision is what a configuration's load does.
func provision(t *testing.T, s *Store) (*Store, error) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	fresh := *s
	return &fresh, fresh.Provision(ctx)
}

func TestProvisionConnectsToNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addresses := []string{"redis://" + l.Addr().String()}
	for name, c := range map[string]*Store{
		"single":   {Addresses: addresses},
		"sentinel": {Addresses: addresses, SentinelMaster: "master"},
		"cluster":  {Addresses: addresses, Cluster: true},
	} {
		s, err := provision(t, c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if s.KeyPrefix != "oob:" {
			t.Errorf("%s: prefix %q", name, s.KeyPrefix)
		}
		if err := s.Cleanup(); err != nil {
			t.Error(err)
		}
	}
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if conn, err := l.Accept(); err == nil {
		_ = conn.Close()
		t.Error("provisioning connected to Redis")
	}
}

// During a reload the old and the new configuration use the same connections,
// which are closed with the last of them.
func TestReloadKeepsTheConnections(t *testing.T) {
	testservice.Need(t, "redis-server")
	c := config(common(t))
	old, err := provision(t, c)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := provision(t, c)
	if err != nil {
		t.Fatal(err)
	}
	c.Timeout++
	other, err := provision(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if old.shared != fresh.shared || old.shared == other.shared {
		t.Error("connections are shared by other rules than the configuration")
	}
	for _, s := range []*Store{old, old, other} { // Caddy may clean up more than once
		if err := s.Cleanup(); err != nil {
			t.Error(err)
		}
	}
	mustBeUp(t, &sidecar{kv.Open(fresh), fresh.shared, fresh})
	client := fresh.shared
	if err := fresh.Cleanup(); err != nil {
		t.Error(err)
	}
	if err := client.Ping(t.Context()).Err(); !errors.Is(err, redis.ErrClosed) {
		t.Errorf("in the end: %v, want closed connections", err)
	}
}

func TestProvisionRefuses(t *testing.T) {
	dir := t.TempDir()
	ok := []string{"redis://localhost"}
	tls := []string{"rediss://localhost"}
	for want, c := range map[string]*Store{
		"addresses: name Redis":          {},
		"with cluster":                   {Addresses: []string{"redis://a", "redis://b"}},
		"same scheme":                    {Addresses: []string{"redis://a", "rediss://b"}, Cluster: true},
		"the same scheme and database":   {Addresses: []string{"redis://a/1", "redis://b/2"}, SentinelMaster: "x"},
		"no database but 0":              {Addresses: []string{"redis://a/1"}, Cluster: true},
		"username and password":          {Addresses: []string{"redis://canary:canary@a"}},
		"not a URL":                      {Addresses: []string{"redis://a?password=canary"}},
		"it has to be redis://":          {Addresses: []string{"rediss:///canary"}},
		"address 1: it has to be":        {Addresses: []string{"http://canary"}},
		"number of a database":           {Addresses: []string{"redis://a/canary"}},
		"number of a database\x00":       {Addresses: []string{"redis://a/-1"}},
		"addresses: it holds":            {Addresses: []string{"{env.OOB_UNSET}"}},
		"do not go together":             {Addresses: ok, Cluster: true, SentinelMaster: "x"},
		"without sentinel_master":        {Addresses: ok, SentinelPassword: "canary"},
		"username has no meaning":        {Addresses: ok, Username: "canary"},
		"sentinel_username has no":       {Addresses: ok, SentinelMaster: "x", SentinelUsername: "canary"},
		"password: it holds":             {Addresses: ok, Password: "canary{env.OOB_UNSET}"},
		"username: it holds":             {Addresses: ok, Password: "canary", Username: "{env.OOB_UNSET}"},
		"sentinel_password: it holds":    {Addresses: ok, SentinelMaster: "x", SentinelPassword: "{env.OOB_UNSET}"},
		"letters, digits":                {Addresses: ok, KeyPrefix: "oob:*"},
		"letters, digits\x00":            {Addresses: ok, KeyPrefix: "{oob}"},
		"without TLS":                    {Addresses: ok, CA: "/ca"},
		"ca: there is no file":           {Addresses: tls, CA: filepath.Join(dir, "ca")},
		"client_cert (certificate): the": {Addresses: tls, ClientCert: &httpclient.ClientCert{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}},
		"client_cert (key): it holds":    {Addresses: tls, ClientCert: &httpclient.ClientCert{Cert: "/cert", Key: "{env.OOB_UNSET}"}},
	} {
		s, err := provision(t, c)
		if err == nil || !strings.Contains(err.Error(), strings.TrimRight(want, "\x00")) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%+v gave error %v, want one with %q that quotes nothing", c, err, want)
		}
		if err := s.Cleanup(); err != nil {
			t.Error(err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]endpoint{
		"redis://redis.example.com":      {[]string{"redis.example.com:6379"}, 0, false, true},
		"rediss://redis.example.com:7/3": {[]string{"redis.example.com:7"}, 3, true, false},
		"redis://[::1]:6380/":            {[]string{"[::1]:6380"}, 0, false, false},
		"redis://localhost":              {[]string{"localhost:6379"}, 0, false, false},
		"unix:///run/redis/socket":       {[]string{"/run/redis/socket"}, 0, false, false},
	} {
		if got, err := new(Store).endpoint([]string{text}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s gave %+v, error %v", text, got, err)
		}
	}
	sentinel := &Store{SentinelMaster: "x"}
	if got, err := sentinel.endpoint([]string{"redis://a"}); err != nil || got.addresses[0] != "a:26379" {
		t.Errorf("a Sentinel's default port: %+v, error %v", got, err)
	}
}

func TestWarnings(t *testing.T) {
	t.Setenv("OOB_PASSWORD", "canary")
	for want, c := range map[string]*Store{
		"use rediss://":            {Addresses: []string{"redis://10.0.0.1"}},
		"option=password":          {Addresses: []string{"rediss://10.0.0.1"}, Password: "canary"},
		"option=sentinel_password": {Addresses: []string{"rediss://10.0.0.1"}, SentinelMaster: "x", SentinelPassword: "canary"},
		"":                         {Addresses: []string{"rediss://10.0.0.1"}, Password: "{env.OOB_PASSWORD}"},
	} {
		out := new(bytes.Buffer)
		logger := slog.New(slog.NewTextHandler(out, nil))
		if err := options.Provision(c, logger); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.prepare(logger); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), want) || want == "" && out.Len() > 0 || strings.Contains(out.String(), "canary") {
			t.Errorf("logged %q, want %q", out, want)
		}
	}
}

func TestPassword(t *testing.T) {
	server := start(t, "--requirepass", "canary-1")
	server.password = "canary-1"
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("canary-0")
	c := config(server)
	mustBeDown(t, open(t, c), "NOAUTH")
	c.Password = "{file." + file + "}"
	s := open(t, c)
	mustBeDown(t, s, "WRONGPASS")
	if _, err := s.Load(t.Context(), ref); strings.Contains(err.Error(), "canary") {
		t.Errorf("the error %v quotes the password", err)
	}
	write("canary-1")
	mustBeUp(t, s)

	// The password is changed in Redis and in the file; connections break.
	server.do(t, "CONFIG", "SET", "requirepass", "canary-2")
	server.password = "canary-2"
	write("canary-2")
	server.do(t, "CLIENT", "KILL", "TYPE", "normal")
	mustBeUp(t, s)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	server.do(t, "CLIENT", "KILL", "TYPE", "normal")
	mustBeUp(t, s)
}

// What the documentation says a user needs.
var (
	documented = []any{
		"+get", "+set", "+del", "+getdel", "+getrange", "+hgetall", "+zadd", "+zcard", "+zscore", "+zpopmax", "+zremrangebyscore",
		"+pexpire", "+time", "+eval", "+evalsha",
	}
	inCluster   = []any{"+command", "+cluster|slots"}
	maintaining = []any{"+scan"}
)

func TestACL(t *testing.T) {
	server := start(t)
	user := func(rules ...any) { server.do(t, append([]any{"ACL", "SETUSER", "sidecar"}, rules...)...) }
	user("on", ">canary", "~oob:*")
	user(documented...)
	c := config(server)
	c.Username, c.Password = "sidecar", "canary"
	s := open(t, c)
	mustBeUp(t, s)
	if _, err := s.Remove(t.Context(), ref.Hash()); err != nil {
		t.Error(err)
	}
	list := func() error { return s.Each(t.Context(), func(*targets.Target, error) error { return nil }) }
	mustFail(t, "Each", list(), "NOPERM")
	user(maintaining...)
	if err := list(); err != nil {
		t.Error(err)
	}
	user("resetkeys", "~other:*")
	mustBeDown(t, s, "NOPERM")
}

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	master, replica := start(t, "--repl-diskless-sync-delay", "0"), start(t, "--repl-diskless-sync-delay", "0")
	replica.do(t, "REPLICAOF", "127.0.0.1", master.port())
	eventually(t, "the replication", func() bool {
		return strings.Contains(replica.do(t, "INFO", "replication").(string), "master_link_status:up")
	})
	sentinel := &server{Process: testservice.NewRedis(t)}
	conf := filepath.Join(sentinel.Dir, "sentinel.conf")
	if err := os.WriteFile(conf, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel.Args = []string{sentinel.Args[0], conf, "--sentinel", "--port", sentinel.port(), "--bind", "127.0.0.1"}
	sentinel.Start(t)
	sentinel.do(t, "SENTINEL", "MONITOR", "oob", "127.0.0.1", master.port(), 1)
	sentinel.do(t, "SENTINEL", "SET", "oob", "down-after-milliseconds", 200, "failover-timeout", 2000)

	c := config(master)
	c.Addresses, c.SentinelMaster = []string{"redis://" + sentinel.Address}, "oob"
	s := open(t, c)
	mustBeUp(t, s)
	master.do(t, "WAIT", 1, 5000)
	eventually(t, "the discovery of the replica", func() bool {
		found, ok := sentinel.do(t, "SENTINEL", "REPLICAS", "oob").([]any)
		return ok && len(found) == 1
	})
	master.Kill()
	c.Timeout = caddy.Duration(500 * time.Millisecond)
	hasty := open(t, c)
	eventually(t, "the failover", func() bool {
		_, err := hasty.Load(t.Context(), ref)
		if errors.Is(err, targets.ErrNotFound) {
			t.Fatal("the target was unknown during the failover")
		}
		return err == nil && hasty.Update(t.Context(), ref, increment) == nil
	})
	mustBeUp(t, s)
}

func TestCluster(t *testing.T) {
	t.Parallel()
	var nodes []*server
	for range 3 {
		node := start(t, "--cluster-enabled", "yes", "--cluster-port", freePort(t), "--cluster-node-timeout", "500")
		for _, rules := range [][]any{{"on", ">canary", "~oob:*"}, documented, inCluster, maintaining} {
			node.do(t, append([]any{"ACL", "SETUSER", "sidecar"}, rules...)...)
		}
		nodes = append(nodes, node)
	}
	for i, node := range nodes {
		node.do(t, "CLUSTER", "ADDSLOTSRANGE", i*5462, min(i*5462+5461, 16383))
		node.do(t, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
		if i > 0 {
			nodes[0].do(t, "CLUSTER", "MEET", "127.0.0.1", node.port(), node.clusterPort())
		}
	}
	for _, node := range nodes {
		eventually(t, "the cluster", func() bool {
			return strings.Contains(node.do(t, "CLUSTER", "INFO").(string), "cluster_state:ok")
		})
	}
	c := config(nodes[0])
	c.Username, c.Password = "sidecar", "canary"
	c.Cluster, c.Addresses = true, []string{nodes[1].url, nodes[2].url}
	sidecars := []*sidecar{open(t, c), open(t, c)}
	mustBeOneStore(t, sidecars)

	// Without one of the nodes nothing works, and nothing is unknown.
	c.Timeout = caddy.Duration(500 * time.Millisecond)
	hasty := open(t, c)
	nodes[0].Kill()
	eventually(t, "the outage", func() bool {
		for op, f := range operations(hasty) {
			err := f()
			if errors.Is(err, targets.ErrNotFound) {
				t.Fatalf("%s: the target was unknown", op)
			}
			if err == nil {
				return false
			}
		}
		return true
	})
}

func mustBeOneStore(t *testing.T, sidecars []*sidecar) {
	t.Helper()
	mustBeUp(t, sidecars[0])
	record := kvtest.Target(ref)
	record.Modified = 0
	if err := sidecars[0].Update(t.Context(), ref, kvtest.To(record)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			if err := sidecars[i%len(sidecars)].Update(t.Context(), ref, increment); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, err := sidecars[0].Load(t.Context(), ref); err != nil || got.Modified != 64 {
		t.Errorf("after 64 increments there is %+v, error %v", got, err)
	}
	var refs []targets.Ref
	for i := range 100 {
		refs = append(refs, targets.Ref{Namespace: "bank", ID: fmt.Sprint("target-", i)})
	}
	fill(t, sidecars[0], refs)
	listed := make(map[targets.Ref]bool)
	err := sidecars[1].Each(t.Context(), func(record *targets.Target, err error) error {
		if err == nil {
			listed[record.Ref()] = true
		}
		return err
	})
	if err != nil || slices.ContainsFunc(refs, func(r targets.Ref) bool { return !listed[r] }) {
		t.Errorf("listed %d targets, error %v", len(listed), err)
	}
	enough, calls := errors.New("enough"), 0
	err = sidecars[1].Each(t.Context(), func(*targets.Target, error) error { calls++; return enough })
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("after %d calls the listing ended with %v", calls, err)
	}
	counts := []targets.Count{{Key: "a", N: 2, Window: time.Hour}, {Key: "b", N: 1, Window: time.Hour}, {Key: "c", N: 9, Window: time.Hour}}
	mustTake(t, sidecars[0], -1, counts...)
	mustTake(t, sidecars[1], 1, counts...)
	mustTake(t, sidecars[1], -1, counts[0])
	mustTake(t, sidecars[0], 0, counts...)
}

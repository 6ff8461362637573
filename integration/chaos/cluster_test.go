package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

const (
	parts      = 3 // of each kind: sidecars, Redis, Sentinels
	masterName = "chaos"
)

// skews are by how much the clocks of the sidecars differ from that of the
// machine. docs/model.md allows for less than half a minute between two.
var skews = [parts]time.Duration{-12 * time.Second, 0, 12 * time.Second}

const skewVariable = "OOB_TEST_SKEW"

// skewed is a change of the product: the clock of the dispatch targets, the only
// one of which a sidecar compares the time with what another has written, is that
// of the machine and a variable of the environment.
var skewed = edit{"targets/directory.go", map[string]string{
	"return time.Now().UTC()": "return time.Now().Add(testSkew()).UTC()",
	"import (\n":              "import (\n\t\"os\"\n",
	"// step is ":             "func testSkew() time.Duration { d, _ := time.ParseDuration(os.Getenv(\"" + skewVariable + "\")); return d }\n\n// step is ",
}}

// guardless is a change of the product that takes a guard out: a change that
// nevisFIDO does not answer counts as refused.
var guardless = edit{"targets/change.go", map[string]string{"	return unanswered\n": "	return refused\n"}}

// edit is a change of a file of this module: texts that stand there once, and what
// is put in their place.
type edit struct {
	file  string
	texts map[string]string
}

// build builds the product with changes, and with the race detector if the test has
// it. The files stay as they are.
func build(t *testing.T, edits ...edit) string {
	t.Helper()
	dir, replace := t.TempDir(), make(map[string]string)
	for i, e := range edits {
		file, err := filepath.Abs(filepath.Join("../..", e.file))
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(content)
		for from, to := range e.texts {
			if strings.Count(text, from) != 1 {
				t.Fatalf("%s does not have once %q", e.file, from)
			}
			text = strings.Replace(text, from, to, 1)
		}
		replace[file] = filepath.Join(dir, fmt.Sprint(i, ".go"))
		if err := os.WriteFile(replace[file], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "caddy")
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(overlay, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"build", "-overlay", overlay, "-o", program}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race")
	}
	out, err := exec.CommandContext(t.Context(), "go", append(args, "github.com/oob-dispatch/oob-dispatch/cmd/caddy")...).CombinedOutput()
	if err != nil {
		t.Fatalf("building caddy: %v\n%s", err, out)
	}
	return program
}

// cluster is what runs beside the test.
type cluster struct {
	t         *testing.T
	redis     [parts]*testservice.Process
	sentinels [parts]*testservice.Process
	sidecars  [parts]*sidecar
}

// sidecar is a process that is killed now and then.
type sidecar struct {
	*testservice.Process
	lives atomic.Int64
}

const caddyfileText = `{
	admin off
	persist_config off
	auto_https off
	skip_install_trust
	grace_period 5s
	storage file_system %[1]s
	log {
		level ERROR
		exclude http.log.error
	}
}
http://%[2]s {
	bind 127.0.0.1
	handle /health {
		oob_health
	}
	handle {
		oob_dispatch {
			limit off
			deadline %[6]s
			store redis %[3]s {
				sentinel_master ` + masterName + `
				timeout 1s
				%[4]s
			}
			dispatcher out webhook {
				url %[5]s/
				address {oob.target}
				timeout 2s
			}
		}
		reverse_proxy %[7]s
	}
}
`

// newCluster starts all parts. option is one of the store's.
func newCluster(t *testing.T, program, option string, p *parties) *cluster {
	t.Helper()
	c := &cluster{t: t}
	for i := range parts {
		c.redis[i] = testservice.NewRedis(t)
		file, text := filepath.Join(c.redis[i].Dir, "redis.conf"), ""
		if i > 0 {
			text = "replicaof " + strings.Replace(c.redis[0].Address, ":", " ", 1) + "\n"
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil { // Sentinel has it written anew
			t.Fatal(err)
		}
		c.redis[i].Args = append(slices.Insert(c.redis[i].Args, 1, file), "--repl-diskless-sync-delay", "0")
		c.redis[i].Start(t)
	}
	var stores []string
	for i := range parts {
		c.sentinels[i] = c.newSentinel()
		c.sentinels[i].Start(t)
		stores = append(stores, "redis://"+c.sentinels[i].Address)
	}
	for i := range parts {
		s := &sidecar{Process: &testservice.Process{Dir: testservice.Folder(t), Address: testservice.FreeAddress(t)}}
		s.Args = []string{program, "run", "--config", filepath.Join(s.Dir, "Caddyfile"), "--adapter", "caddyfile"}
		s.Env = []string{skewVariable + "=" + skews[i].String()}
		s.Healthy = func() bool { _, err := unsynced(s.Address); return err == nil }
		text := func(deadline string) string {
			return fmt.Sprintf(caddyfileText, s.Dir, s.Address, strings.Join(stores, " "), option, p.webhook.URL, deadline, p.nevis.Addr())
		}
		for file, deadline := range map[string]string{"Caddyfile": "4s", "Caddyfile.next": "5s"} {
			if err := os.WriteFile(filepath.Join(s.Dir, file), []byte(text(deadline)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		t.Cleanup(func() { s.Finish(t) })
		c.sidecars[i] = s
		s.Launch(t)
	}
	for _, s := range c.sidecars {
		testservice.Until(t, s.Healthy, func() string { return s.Log(t) })
	}
	return c
}

func (c *cluster) newSentinel() *testservice.Process {
	p := &testservice.Process{Dir: c.t.TempDir(), Address: testservice.FreeAddress(c.t)}
	host, port, _ := net.SplitHostPort(p.Address)
	file := filepath.Join(p.Dir, "sentinel.conf")
	text := fmt.Sprintf("port %s\nbind %s\ndir %s\n", port, host, p.Dir) +
		fmt.Sprintf("sentinel monitor %s %s 2\n", masterName, strings.Replace(c.redis[0].Address, ":", " ", 1)) +
		fmt.Sprintf("sentinel down-after-milliseconds %[1]s 800\nsentinel failover-timeout %[1]s 4000\nsentinel parallel-syncs %[1]s 2\n", masterName)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	p.Args = []string{c.redis[0].Args[0], file, "--sentinel"}
	p.Healthy = func() bool { return ask(p.Address, "PING").Err() == nil }
	c.t.Cleanup(func() { p.Finish(c.t) })
	return p
}

// unsynced returns how many targets and changes wait in a sidecar for the store.
func unsynced(address string) (int, error) {
	client := http.Client{Timeout: 3 * time.Second}
	response, err := client.Get("http://" + address + "/health")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var health struct {
		Dispatch []struct {
			Unsynced int `json:"unsynced_targets"`
		} `json:"oob_dispatch"`
	}
	if err := json.NewDecoder(response.Body).Decode(&health); err != nil || len(health.Dispatch) != 1 {
		return 0, errors.New("the health of a sidecar cannot be read")
	}
	return health.Dispatch[0].Unsynced, nil
}

// ask sends commands to a Redis or a Sentinel over one connection, and returns the
// answer to the last.
func ask(address string, commands ...string) (last *redis.Cmd) {
	client := redis.NewClient(&redis.Options{Addr: address, DialTimeout: time.Second, ReadTimeout: 2 * time.Second, MaxRetries: -1, Protocol: 2, DisableIdentity: true})
	defer client.Close()
	conn := client.Conn()
	defer conn.Close()
	for _, command := range commands {
		var words []any
		for word := range strings.FieldsSeq(command) {
			words = append(words, word)
		}
		if last = conn.Do(context.Background(), words...); last.Err() != nil {
			break
		}
	}
	return last
}

// reign is the time of a master: its address, and how often there was another.
type reign struct {
	master string
	epoch  int
}

// reign returns that on which all Sentinels agree.
func (c *cluster) reign() (r reign, ok bool) {
	for i, s := range c.sentinels {
		fields, err := ask(s.Address, "SENTINEL MASTER "+masterName).StringSlice()
		if err != nil {
			return r, false
		}
		values := make(map[string]string)
		for i := 0; i+1 < len(fields); i += 2 {
			values[fields[i]] = fields[i+1]
		}
		epoch, _ := strconv.Atoi(values["config-epoch"])
		seen := reign{net.JoinHostPort(values["ip"], values["port"]), epoch}
		others, _ := strconv.Atoi(values["num-other-sentinels"])
		if i > 0 && seen != r || values["flags"] != "master" || others != parts-1 {
			return r, false
		}
		r = seen
	}
	return r, true
}

// settle waits until all Sentinels agree on a master, and all other Redis have
// what it had been told at the time that is returned.
func (c *cluster) settle(now func() int64) (at int64, r reign) {
	c.t.Helper()
	what := func() string { return fmt.Sprintf("it was that all of Redis works together: %+v", r) }
	testservice.Until(c.t, func() bool {
		var ok bool
		if r, ok = c.reign(); !ok {
			return false
		}
		at = now()
		n, err := ask(r.master, "SET chaos settled", fmt.Sprintf("WAIT %d 500", parts-1)).Int()
		return err == nil && n == parts-1
	}, what)
	return at, r
}

// master returns the present one, and other the rest.
func (c *cluster) master() (p *testservice.Process, others []*testservice.Process) {
	_, r := c.settle(func() int64 { return 0 })
	for _, one := range c.redis {
		if one.Address == r.master {
			p = one
		} else {
			others = append(others, one)
		}
	}
	return p, others
}

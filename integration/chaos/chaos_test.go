package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// operationsVariable is how many calls the clients make at least. Without it the
// test takes seconds: each of a few troubles strikes once.
const operationsVariable = "OOB_CHAOS_OPERATIONS"

// chaos is a cluster under load.
type chaos struct {
	*clients
	*cluster
	t     *testing.T
	brief bool // Sentinel is not waited for where it takes its time

	windows []window       // in which there was a failover
	struck  map[string]int // how often each trouble did
}

// trouble is something that goes wrong, and is mended again.
type trouble struct {
	name   string
	strike func(*chaos)
}

// troubles are all of them. A brief test has the first three.
var troubles = []trouble{
	{"a sidecar is killed", func(c *chaos) { c.revive(c.any()) }},
	{"the master is killed while its replicas stand still", (*chaos).outrun},
	{"a configuration is loaded", (*chaos).reload},
	{"the master is killed", func(c *chaos) { c.failover((*testservice.Process).Kill, false) }},
	{"a sidecar stands still", func(c *chaos) { c.freeze(c.any().Process, 2*time.Second) }},
	{"the master stands still until there is another", func(c *chaos) { c.failover(stop, false) }},
	{"the master and a Sentinel stand still", func(c *chaos) { c.failover(stop, true) }},
	{"the master is asked to step down", func(c *chaos) {
		_ = ask(c.sentinels[rand.IntN(parts)].Address, "SENTINEL FAILOVER "+masterName) // which may refuse
		time.Sleep(2 * time.Second)
	}},
	{"the master stands still for a moment", func(c *chaos) {
		master, _ := c.master()
		c.freeze(master, 600*time.Millisecond)
	}},
	{"the master is killed and is back at once", func(c *chaos) {
		master, _ := c.master()
		master.Kill()
		master.Start(c.t)
	}},
	{"a replica is killed", func(c *chaos) {
		_, others := c.master()
		others[0].Kill()
		time.Sleep(time.Second)
		others[0].Start(c.t)
	}},
	{"a replica stands still", func(c *chaos) {
		_, others := c.master()
		c.freeze(others[0], 2*time.Second)
	}},
	{"a Sentinel is killed", func(c *chaos) {
		s := c.sentinels[rand.IntN(parts)]
		s.Kill()
		time.Sleep(time.Second)
		s.Start(c.t)
	}},
	{"a Sentinel stands still", func(c *chaos) { c.freeze(c.sentinels[rand.IntN(parts)], 3*time.Second) }},
	{"all sidecars are killed", func(c *chaos) {
		for _, s := range c.sidecars {
			s.Kill()
		}
		for _, s := range c.sidecars {
			c.revive(s)
		}
	}},
}

const brief = 3 // of the troubles

func (c *chaos) any() *sidecar { return c.sidecars[rand.IntN(parts)] }

func stop(p *testservice.Process) { _ = p.Cmd.Process.Signal(syscall.SIGSTOP) }

// revive kills a sidecar, and starts it again.
func (c *chaos) revive(s *sidecar) {
	s.Kill()
	s.lives.Add(1)
	s.Launch(c.t)
	testservice.Until(c.t, s.Healthy, func() string { return s.Log(c.t) })
}

func (c *chaos) freeze(p *testservice.Process, d time.Duration) {
	stop(p)
	time.Sleep(d)
	p.Signal(c.t, syscall.SIGCONT)
}

// reload has a sidecar load another configuration, several times.
func (c *chaos) reload() {
	s := c.any()
	now, next := filepath.Join(s.Dir, "Caddyfile"), filepath.Join(s.Dir, "Caddyfile.next")
	for range 3 {
		for _, names := range [][2]string{{now, now + ".former"}, {next, now}, {now + ".former", next}} {
			if err := os.Rename(names[0], names[1]); err != nil {
				c.t.Fatal(err)
			}
		}
		s.Signal(c.t, syscall.SIGUSR1)
		time.Sleep(500 * time.Millisecond)
	}
}

// failover does something to the master, waits until there is another, and has the
// former one come back as it was. A Sentinel may sleep meanwhile and longer, so
// that sidecars which listen to it are not told.
func (c *chaos) failover(strike func(*testservice.Process), deaf bool) {
	master, _ := c.master()
	awake := c.sentinels[0]
	if deaf {
		s := c.sentinels[1+rand.IntN(parts-1)]
		stop(s)
		defer s.Signal(c.t, syscall.SIGCONT)
	}
	strike(master)
	var next string
	testservice.Until(c.t, func() bool {
		fields, err := ask(awake.Address, "SENTINEL GET-MASTER-ADDR-BY-NAME "+masterName).StringSlice()
		next = strings.Join(fields, " ")
		return err == nil && next != strings.Replace(master.Address, ":", " ", 1)
	}, func() string { return "it was a failover\n" + awake.Log(c.t) })
	if master.Cmd.ProcessState == nil {
		master.Signal(c.t, syscall.SIGCONT)
	} else {
		master.Start(c.t)
	}
	if c.brief { // or else it takes Sentinel ten seconds to say so
		_ = ask(master.Address, "REPLICAOF "+next, "CLIENT KILL TYPE normal")
	}
	if deaf {
		time.Sleep(3 * time.Second)
	}
}

// outrun kills the master when its replicas lack what it was told last.
func (c *chaos) outrun() {
	_, others := c.master()
	c.failover(func(master *testservice.Process) {
		for _, replica := range others {
			stop(replica)
		}
		time.Sleep(400 * time.Millisecond)
		master.Kill()
		for _, replica := range others {
			replica.Signal(c.t, syscall.SIGCONT)
		}
	}, false)
}

// run has things go wrong until there were enough calls.
func (c *chaos) run(operations int64) {
	ctx, end := context.WithCancel(c.t.Context())
	defer end()
	var all sync.WaitGroup
	for range c.workers {
		all.Go(func() { c.work(ctx) })
	}
	least := len(troubles)
	if c.brief {
		least = brief
	}
	from, before := c.settle(c.book.now)
	for i := 0; i < least || c.operations.Load() < operations; i++ {
		what := troubles[rand.IntN(len(troubles))]
		if i < len(troubles) {
			what = troubles[i]
		}
		what.strike(c)
		c.struck[what.name]++
		to, now := c.settle(c.book.now)
		if now != before {
			c.windows = append(c.windows, window{from, to})
		}
		if from, before = to, now; !c.brief { // many calls in a while in which all works
			time.Sleep(5 * time.Second)
			if at, same := c.settle(c.book.now); same == now {
				from = at
			}
		}
		if i%20 == 19 {
			c.t.Logf("%d operations", c.operations.Load())
		}
	}
	end()
	all.Wait()
}

// calm checks that all works again, through each sidecar: new targets, and after a
// while those that were there.
func (c *chaos) calm() {
	c.t.Helper()
	until := func(what string, done func() bool) {
		c.t.Helper()
		testservice.Until(c.t, done, func() string { return "it was " + what })
	}
	var all []*pair
	for _, via := range c.sidecars {
		var p *pair
		until("a registration", func() bool { p = c.register(c.ctx, via); return p != nil })
		all = append(all, p)
	}
	if !c.brief {
		for i := range c.pairs {
			if p := c.pairs[i].Load(); p != nil {
				all = append(all, p)
			}
		}
		time.Sleep(90 * time.Second) // a fence of a sidecar that died counts for a minute, by any clock
	}
	for _, p := range all {
		if _, there := c.nevis.Target(p.phones[0].target); !there {
			continue
		}
		until("a modification", func() bool { return c.modify(c.ctx, p.phones[0]) })
		for _, through := range c.sidecars {
			until("a dispatch", func() bool { return c.dispatch(context.WithValue(c.ctx, viaKey{}, through), p.phones[0]) })
		}
	}
}

// begin starts a cluster.
func begin(t *testing.T, program, option string, brief bool) *chaos {
	t.Helper()
	p := newParties(t)
	cluster := newCluster(t, program, option, p)
	workers := crowd
	if brief {
		workers = few
	}
	return &chaos{clients: newClients(p, cluster, workers), cluster: cluster, t: t, brief: brief, struck: make(map[string]int)}
}

// end tells what there was, and returns how many targets have an illegal history.
func (c *chaos) end(windows ...window) int {
	c.t.Helper()
	c.t.Logf("%d operations, %d of them not answered and %d refused, on %d targets: %d messages; nevisFIDO made %d modifications and %d deletions; %d failovers; %v",
		c.operations.Load(), c.unknown.Load(), c.refused.Load(), len(c.book.targets), c.book.count(sent),
		c.book.count(modified), c.book.count(removed), len(c.windows), c.struck)
	if len(c.windows) == 0 || c.book.count(sent) < 50 || c.book.count(modified) < 50 {
		c.t.Error("too little happened")
	}
	illegal := c.book.check(c.t, windows...)
	c.t.Logf("%d messages went to what had been replaced; %d histories are illegal", c.book.replaced(), len(illegal))
	return len(illegal)
}

// TestChaos runs the cluster with replicas that must have each change before
// nevisFIDO is asked, and without. With an OOB_CHAOS_OPERATIONS it is the long one,
// and shows that it finds a product without one of its guards.
func TestChaos(t *testing.T) {
	var operations int64
	if text := os.Getenv(operationsVariable); text != "" {
		var err error
		if operations, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", operationsVariable, err)
		}
	}
	isBrief := operations == 0
	if isBrief {
		testservice.Slow(t, "a whole Caddy is built")
	}
	testservice.Need(t, "redis-server")
	program := build(t, skewed)
	parallel := func(t *testing.T) {
		if isBrief { // most of the time is Sentinel's
			t.Parallel()
		}
	}
	all := fmt.Sprintf("replicas %d 500ms", parts-1)
	t.Run("all replicas", func(t *testing.T) {
		parallel(t)
		c := begin(t, program, all, isBrief)
		c.run(operations)
		c.calm()
		if c.end() > 0 {
			t.Error("want no illegal history")
		}
	})
	t.Run("no replicas", func(t *testing.T) {
		parallel(t)
		c := begin(t, program, "", isBrief)
		c.run(operations / 10)
		c.calm()
		if c.end(c.windows...) > 0 {
			t.Error("more is lost than a failover may lose")
		}
	})
	if !isBrief {
		t.Run("without a guard", func(t *testing.T) {
			c := begin(t, build(t, skewed, guardless), all, true)
			c.run(10_000)
			if c.end() == 0 {
				t.Error("want an illegal history")
			}
		})
	}
}

package faults

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// TestFaults runs the cells of the table. Each has a site of its own, with its
// own nevisFIDO, phone and party: dispatches while the party fails, mends the
// party, and dispatches again.
func TestFaults(t *testing.T) {
	t.Parallel()
	shared := newServices(t)
	sidecar := freeAddress(t)
	dir := testservice.Folder(t)
	caddyfile := fmt.Sprintf(globalText, filepath.Join(dir, "storage"), filepath.Join(dir, "caddy.log"), readBody)
	var benches []*bench
	for i := range table {
		c := &table[i]
		b := newBench(t, c, sidecar, fmt.Sprintf("cell-%d", i), shared)
		b.prepare()
		if c.fault == emfile {
			b.ownProcess()
		} else {
			caddyfile += b.site()
		}
		benches = append(benches, b)
	}
	if err := load([]byte(caddyfile)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	for name := range parties {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, b := range benches {
				if b.cell.party == name {
					t.Run(b.fault, func(t *testing.T) {
						if name != "IPP" { // a letter takes a processor: one after the other
							t.Parallel()
						}
						b.t = t
						b.run()
					})
				}
			}
		})
	}
}

// run is one cell.
func (b *bench) run() {
	if strings.HasPrefix(b.store, "store redis") {
		testservice.Need(b.t, "redis-server")
	}
	if b.needsMount() {
		testservice.NeedRoot(b.t, "a small file system is mounted")
	}
	if b.process != nil {
		b.process.Start(b.t)
		b.t.Cleanup(func() {
			b.process.Terminate(b.t)
			b.process.Finish(b.t)
		})
	}
	b.register()

	call, mend := b.dispatch, func() {}
	switch what := storageFaults[b.fault]; {
	case b.fault == emfile:
		mend = b.starve()
		if b.cell.party == "caller" {
			call = b.newCaller
		}
	case b.cell.party == "caller":
		call = func() string { return calls[b.fault](b) }
	case b.cell.party == "file storage":
		mend = what(b)
	default:
		b.party.set(troubleOf(b.cell))
		mend = func() { b.party.set(trouble{}) }
	}

	start := time.Now()
	answer := call()
	took := time.Since(start)
	if limit := b.bound() + slack; took > limit {
		b.t.Errorf("it took %s, want %s at most", took, limit)
	}
	got := cell{party: b.cell.party, fault: b.fault, answer: answer}
	if b.cell.change != 0 {
		got.change = b.change()
	}
	lines := 1
	if b.reason == none {
		got.reason, lines = none, 0
	} else {
		line := b.dispatches(1)[0]
		got.reason, got.attempts = line.Reason, len(line.Attempts)
	}
	// The party may be at it still when the sidecar has given up.
	for end := time.Now().Add(3 * time.Second); b.delivered() < b.cell.delivered && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
	got.delivered = b.delivered()
	if got != *b.cell {
		b.t.Errorf("it took %s\n got %+v\nwant %+v", took, got, *b.cell)
	}

	mend()
	if answer := b.dispatch(); answer != "dispatched" {
		b.t.Errorf("once the fault is gone: %s", answer)
	}
	if b.cell.change != 0 {
		if status := b.change(); status != 204 {
			b.t.Errorf("once the fault is gone a change gets %d", status)
		}
	}
	if n := b.delivered() - got.delivered; n != 1 {
		b.t.Errorf("once the fault is gone %d messages were delivered", n)
	}
	if n := len(b.dispatches(lines + 1)); n != lines+1 {
		b.t.Errorf("%d audit lines of dispatches, want %d", n, lines+1)
	}
}

// bound is what a dispatch may take.
func (b *bench) bound() time.Duration {
	if b.cell.party == "nevisFIDO" {
		return upstreamTimeout
	}
	return b.deadline()
}

// deadline is longer for letters, as it takes a while to draw one.
func (b *bench) deadline() time.Duration {
	if b.cell.party == "IPP" {
		return 3 * deadline
	}
	return deadline
}

// descriptors is how many a sidecar of a cell with EMFILE may have.
const descriptors = 96

// ownProcess makes a sidecar for this cell alone.
func (b *bench) ownProcess() {
	b.t.Helper()
	b.sidecar = freeAddress(b.t)
	name, _, _ := strings.Cut(b.host, ":")
	_, port, _ := net.SplitHostPort(b.sidecar)
	b.host = net.JoinHostPort(name, port)
	file := b.write("Caddyfile", []byte(fmt.Sprintf(globalText, b.path("storage"), b.path("caddy.log"), readBody)+b.site()))
	b.process = &testservice.Process{
		Dir: b.dir, Args: []string{os.Args[0]},
		Env: []string{sidecarVariable + "=" + file, fmt.Sprintf("%s=%d", limitVariable, descriptors)},
		Healthy: func() bool {
			c, err := net.Dial("tcp", b.sidecar)
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		},
	}
}

// openDescriptors counts those that the cell's sidecar uses.
func (b *bench) openDescriptors() int {
	b.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", b.process.Cmd.Process.Pid))
	b.must(err)
	return len(entries)
}

package faults

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
	caddyfile := fmt.Sprintf(globalText, filepath.Join(dir, "storage"), filepath.Join(dir, "log"), readBody)
	var benches []*bench
	for i := range table {
		c := &table[i]
		b := newBench(t, c, sidecar, fmt.Sprintf("cell-%d", i), shared)
		b.prepare()
		if c.fault == emfile {
			b.process = newProcess(t, b)
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
		b.process.start(b)
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

// process is a sidecar for one cell.
type process struct {
	cmd  *exec.Cmd
	file string // Caddyfile
}

func newProcess(t *testing.T, b *bench) *process {
	t.Helper()
	b.sidecar = freeAddress(t)
	name, _, _ := strings.Cut(b.host, ":")
	_, port, _ := net.SplitHostPort(b.sidecar)
	b.host = net.JoinHostPort(name, port)
	caddyfile := fmt.Sprintf(globalText, b.path("storage"), b.path("log"), readBody) + b.site()
	return &process{file: b.write("Caddyfile", []byte(caddyfile))}
}

func (p *process) start(b *bench) {
	b.t.Helper()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), sidecarVariable+"="+p.file, limitVariable+"="+strconv.Itoa(descriptors))
	output, err := os.Create(b.path("output"))
	b.must(err)
	defer output.Close()
	p.cmd.Stdout, p.cmd.Stderr = output, output
	input, err := p.cmd.StdinPipe()
	b.must(err)
	b.must(p.cmd.Start())
	b.t.Cleanup(func() {
		_ = input.Close()
		timer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
		defer timer.Stop()
		if err := p.cmd.Wait(); err != nil {
			content, _ := os.ReadFile(b.path("output"))
			b.t.Errorf("the sidecar ended with %v: %s", err, content)
		}
	})
	waitFor(b.t, "the start of a sidecar", func() bool {
		c, err := net.Dial("tcp", b.sidecar)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// open counts the descriptors in use.
func (p *process) open(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

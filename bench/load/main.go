// Command load measures dispatches through the sidecar against the same Caddy
// with nothing but reverse_proxy, and push messages against gorush, on loopback,
// and says which goals hold:
//
//	go run ./bench/load -caddy ./caddy
//
// Every figure is a ratio within one run. A round measures each row once, in
// rotated order, and the same bare Caddy twice (the A/A control, whose spread
// tells which differences mean nothing). A round in which other processes used
// the machine is dropped. The figures are medians over rounds.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// options are those of the command line.
type options struct {
	caddy, old string
	gorush     string
	rounds     int
	seconds    float64
	conns      int
	known      int
	others     float64
}

func main() {
	var o options
	flag.StringVar(&o.caddy, "caddy", "./caddy", "the product binary")
	flag.StringVar(&o.old, "old", "", "another product binary, measured side by side")
	flag.StringVar(&o.gorush, "gorush", "gorush", "a gorush binary, to compare with")
	flag.IntVar(&o.rounds, "rounds", 7, "rounds that count")
	flag.Float64Var(&o.seconds, "seconds", 1.2, "length of one measurement")
	flag.IntVar(&o.conns, "conns", 64, "connections of the callers")
	flag.IntVar(&o.known, "targets", 80_000, "dispatch targets of each kind in the store; the limiter is aged with them")
	flag.Float64Var(&o.others, "others", 0.12, "share of the machine that other processes may use in a round that counts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	err := o.check()
	if err == nil {
		err = run(ctx, o)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err) // Caddy has taken over the standard log
		os.Exit(1)
	}
}

func (o options) check() error {
	if o.rounds < 1 || o.seconds <= 0 || o.conns < 1 || o.known < few {
		return fmt.Errorf("-rounds and -conns have to be 1 or more, -seconds above 0, and -targets %d or more", few)
	}
	return nil
}

func run(ctx context.Context, o options) error {
	l, err := newLab(ctx, o)
	if err != nil {
		return err
	}
	defer l.close()
	fmt.Printf("%s, %d processors; %d connections, %d targets of each kind\n", runtime.Version(), runtime.NumCPU(), o.conns, o.known)
	targets, err := makeTargets(o.known)
	if err != nil {
		return err
	}
	w := worksOn(o.known)
	if err := l.startAll(ctx, w, targets); err != nil {
		return err
	}
	rows := rowsFor(w, l.servers)
	results, err := measureRounds(ctx, l.servers, cellsOf(rows), o)
	if err != nil {
		return err
	}
	report(rows, results)
	if err := parts(ctx, l.folder, above(results, cell{w.sealed, product}, cell{w.own, bareA})); err != nil {
		return err
	}
	if err := listing(ctx, l.folderOf(product), o.caddy); err != nil {
		return err
	}
	some := bytes.Join(bytes.SplitAfterN(targets, []byte("\n"), few+1)[:few], nil)
	if err := l.memory(ctx, some); err != nil {
		return err
	}
	return lookups(ctx, l.folderOf(product), l.folderOf(product+hangingSuffix), o.known)
}

// measureRounds measures every cell in each round, and drops rounds in which other
// processes were busy.
func measureRounds(ctx context.Context, servers map[string]*server, cells []cell, o options) (map[cell][]sample, error) {
	results := map[cell][]sample{}
	dropped := 0
	for round := 0; round < o.rounds && ctx.Err() == nil; {
		one, busy := measureRound(servers, cells, round+dropped, o)
		if busy > o.others {
			dropped++
			if dropped > 3*o.rounds {
				return nil, fmt.Errorf("%d rounds were dropped because other processes were busy", dropped)
			}
			continue
		}
		round++
		for c, s := range one {
			results[c] = append(results[c], s)
		}
	}
	fmt.Printf("%d rounds, %d dropped because other processes used more than %.0f %% of the machine\n\n", o.rounds, dropped, 100*o.others)
	return results, ctx.Err()
}

// measureRound measures every cell once and returns the share of the machine
// that other processes used meanwhile.
func measureRound(servers map[string]*server, cells []cell, rotation int, o options) (map[cell]sample, float64) {
	out := map[cell]sample{}
	before := usage(servers)
	for i := range cells {
		c := cells[(i+rotation)%len(cells)]
		out[c] = servers[c.server].measure(c.work, o.conns, time.Duration(o.seconds*float64(time.Second)))
	}
	return out, usage(servers).othersSince(before)
}

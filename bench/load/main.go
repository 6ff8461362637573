// Command load measures dispatches through the sidecar against the same Caddy
// with nothing but reverse_proxy, on loopback, and says which goals hold:
//
//	go run ./bench/load -caddy ./caddy
//
// Every figure is a ratio within one run. A round measures each row once, in
// rotated order, and the same bare Caddy twice (the A/A control, whose spread
// tells which differences mean nothing). A round in which other processes used
// the machine is dropped. The figures are medians over rounds.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"
)

// options are those of the command line.
type options struct {
	caddy, old string
	rounds     int
	seconds    float64
	conns      int
	known      int
	others     float64
}

func main() {
	log.SetFlags(0)
	var o options
	flag.StringVar(&o.caddy, "caddy", "./caddy", "the product binary")
	flag.StringVar(&o.old, "old", "", "another product binary, measured side by side")
	flag.IntVar(&o.rounds, "rounds", 7, "rounds that count")
	flag.Float64Var(&o.seconds, "seconds", 1.2, "length of one measurement")
	flag.IntVar(&o.conns, "conns", 64, "connections of the callers")
	flag.IntVar(&o.known, "targets", 60_000, "dispatch targets of each kind in the store; the limiter is aged with them")
	flag.Float64Var(&o.others, "others", 0.12, "share of the machine that other processes may use in a round that counts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		log.Fatal("load: ", err)
	}
}

func run(ctx context.Context, o options) error {
	folder, err := os.MkdirTemp("", "oob-load-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	upstream, err := startUpstream()
	if err != nil {
		return err
	}
	defer upstream.Close()

	fmt.Printf("%s, %d processors; %d connections, %d targets of each kind\n", runtime.Version(), runtime.NumCPU(), o.conns, o.known)
	servers := map[string]*server{}
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	start := func(name, binary, config string) error {
		s, err := startServer(ctx, filepath.Join(folder, name), binary, config, upstream.Addr().String())
		if err != nil {
			return fmt.Errorf("starting %s: %w", name, err)
		}
		servers[name] = s
		return nil
	}
	for _, name := range []string{bareA, bareB} {
		if err := start(name, o.caddy, bareConfig); err != nil {
			return err
		}
	}
	products := []string{product}
	if o.old != "" {
		products = append(products, productOld)
	}
	targets, err := makeTargets(o.known)
	if err != nil {
		return err
	}
	w := worksOn(int64(o.known))
	for _, name := range products {
		binary := o.caddy
		if name == productOld {
			binary = o.old
		}
		if err := importTargets(ctx, filepath.Join(folder, name), binary, targets); err != nil {
			return fmt.Errorf("filling the store of %s: %w", name, err)
		}
		if err := start(name, binary, productConfig); err != nil {
			return err
		}
		age(servers[name], o, w.clear, w.sealed)
	}

	cells := rowsFor(w, products)
	results := map[string][]sample{}
	dropped := 0
	for round := 0; round < o.rounds && ctx.Err() == nil; {
		one, busy := measureRound(servers, cells, round+dropped, o)
		if busy > o.others {
			dropped++
			if dropped > 3*o.rounds {
				return fmt.Errorf("%d rounds were dropped because other processes were busy", dropped)
			}
			continue
		}
		round++
		for name, s := range one {
			results[name] = append(results[name], s)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fmt.Printf("%d rounds, %d dropped because other processes used more than %.0f %% of the machine\n\n", o.rounds, dropped, 100*o.others)
	report(cells, results)
	if err := parts(ctx, folder); err != nil {
		return err
	}
	listing(ctx, filepath.Join(folder, product), o.caddy)
	if err := importTargets(ctx, filepath.Join(folder, product+hangingSuffix), o.caddy, targets); err != nil {
		return fmt.Errorf("filling a store: %w", err)
	}
	return memory(func(name, config string) (*server, error) {
		err := start(name, o.caddy, config)
		return servers[name], err
	}, w.sealed)
}

// measureRound measures every cell once and returns the share of the machine
// that other processes used meanwhile.
func measureRound(servers map[string]*server, cells []cell, rotation int, o options) (map[string]sample, float64) {
	out := map[string]sample{}
	before := usage(servers)
	for i := range cells {
		c := cells[(i+rotation)%len(cells)]
		out[c.name()] = servers[c.server].measure(c.work, o.conns, time.Duration(o.seconds*float64(time.Second)))
	}
	return out, usage(servers).othersSince(before)
}

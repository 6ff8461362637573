package main

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// The servers that are measured.
const (
	bareA      = "bare"
	bareB      = "bare again"
	product    = "product"
	productOld = "old"
)

// A work is what callers ask for.
type work struct {
	name   string
	make   func() []byte // one request
	expect string        // a piece of a right answer
}

// goals are the limits of a row against bare reverse_proxy; 0 means none.
type goals struct{ rate, cpu, p99 float64 }

type cell struct {
	work   *work
	server string
	goals  goals
}

func (c cell) name() string { return c.server + ": " + c.work.name }

func (c cell) requests() *work { return c.work }

// next hands out target ids, so that no limit is reached.
type next struct{ n atomic.Int64 }

func (x *next) id(kind string, of int64) string {
	return fmt.Sprintf("%s-%d", kind, x.n.Add(1)%of)
}

func rowsFor(products []string) []cell {
	dispatch := func(dispatcher, kind string) func() []byte {
		var ids next
		return func() []byte {
			return request("POST", "/nevisfido/token/dispatch/authentication", fmt.Sprintf(
				`{"dispatcher":%q,"dispatchTargetId":%q,"getUafRequest":{"op":"Auth","context":"{\"username\":\"jeff\"}"}}`,
				dispatcher, ids.id(kind, targetsOfEachKind)))
		}
	}
	foreign := func() []byte { return request("POST", "/nevisfido/status", `{"sessionId":"0b0a6b12"}`) }
	const dispatched = `"dispatched"`
	status := &work{"traffic that is not ours", foreign, "clientTokenCreated"}
	own := &work{"nevisFIDO's own dispatcher", dispatch("link", kindClear), dispatched}
	clear := &work{"link in clear", dispatch("app-link", kindClear), dispatched}
	sealed := &work{"link sealed for RSA-2048", dispatch("app-link", kindRSA), dispatched}
	picture := &work{"QR code of a link in clear", dispatch("app-qr", kindClear), dispatched}

	// On the bare side every dispatch is nevisFIDO's own, and costs the same.
	cells := []cell{
		{status, bareA, goals{}},
		{status, bareB, goals{}},
		{own, bareA, goals{}},
		{own, bareB, goals{}},
	}
	for _, p := range products {
		cells = append(cells,
			cell{status, p, goals{rate: 0.98, cpu: 1.03, p99: 1.05}},
			cell{own, p, goals{rate: 0.92}},
			cell{clear, p, goals{rate: 0.62}},
			cell{sealed, p, goals{rate: 0.55, p99: 1.6}},
			cell{picture, p, goals{}},
		)
	}
	return cells
}

// peer returns what a cell is compared with.
func (c cell) peer() string {
	if c.work.name == "traffic that is not ours" {
		return bareA + ": " + c.work.name
	}
	return bareA + ": nevisFIDO's own dispatcher"
}

func report(cells []cell, results map[string][]sample) {
	fmt.Printf("%-40s %22s %22s %22s %10s\n", "", "rate, × bare", "CPU, × bare", "p99, × bare", "CPU, µs")
	for _, c := range cells {
		if c.server == bareA {
			continue
		}
		own, peer := results[c.name()], results[c.peer()]
		rate := ratios(own, peer, func(s sample) float64 { return s.rate })
		cpu := ratios(own, peer, func(s sample) float64 { return s.cpu })
		p99 := ratios(own, peer, func(s sample) float64 { return s.p99 })
		var perRequest []float64
		for _, s := range own {
			perRequest = append(perRequest, s.cpu)
		}
		fmt.Printf("%-40s %22s %22s %22s %10.0f%s\n", c.name(), atLeast(rate, c.goals.rate), atMost(cpu, c.goals.cpu), atMost(p99, c.goals.p99), median(perRequest), wrongAnswers(own))
	}
}

func wrongAnswers(samples []sample) string {
	wrong, all := 0, 0
	for _, s := range samples {
		wrong, all = wrong+s.wrong, all+s.requests
	}
	if wrong == 0 {
		return ""
	}
	return fmt.Sprintf("  %d of %d answers were not the expected ones", wrong, all)
}

func atLeast(values []float64, goal float64) string {
	m := median(values)
	return judged(m, goal, m >= goal)
}

func atMost(values []float64, goal float64) string {
	m := median(values)
	return judged(m, goal, m <= goal)
}

func judged(m, goal float64, holds bool) string {
	switch {
	case goal == 0:
		return fmt.Sprintf("%.2f", m)
	case holds:
		return fmt.Sprintf("%.2f (%.2f holds)", m, goal)
	}
	return fmt.Sprintf("%.2f (%.2f MISSED)", m, goal)
}

func ratios(own, peer []sample, of func(sample) float64) []float64 {
	var all []float64
	for i := range min(len(own), len(peer)) {
		all = append(all, of(own[i])/of(peer[i]))
	}
	return all
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

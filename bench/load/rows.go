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

// works are all that is measured.
type works struct{ foreign, own, clear, sealed, picture *work }

// worksOn asks for targets in turn, of which there are so many of each kind, so that
// no limit is reached.
func worksOn(targets int64) works {
	dispatch := func(name, dispatcher, kind string) *work {
		var n atomic.Int64
		return &work{name, func() []byte {
			return request("POST", "/nevisfido/token/dispatch/authentication", fmt.Sprintf(
				`{"dispatcher":%q,"dispatchTargetId":"%s-%d","getUafRequest":{"op":"Auth","context":"{\"username\":\"jeff\"}"}}`,
				dispatcher, kind, n.Add(1)%targets))
		}, `"dispatched"`}
	}
	foreign := func() []byte { return request("POST", "/nevisfido/status", `{"sessionId":"0b0a6b12"}`) }
	return works{
		foreign: &work{"traffic that is not ours", foreign, "clientTokenCreated"},
		own:     dispatch("nevisFIDO's own dispatcher", "link", kindClear),
		clear:   dispatch("link in clear", "app-link", kindClear),
		sealed:  dispatch("link sealed for RSA-2048", "app-link", kindRSA),
		picture: dispatch("QR code of a link in clear", "app-qr", kindClear),
	}
}

// goals are the limits of a row against bare reverse_proxy; 0 means none.
type goals struct{ rate, cpu, p99 float64 }

// A cell is a row of the table: a work on a server, and the work on bare Caddy that
// it is compared with.
type cell struct {
	work   *work
	server string
	peer   *work
	goals  goals
}

func (c cell) name() string     { return c.server + ": " + c.work.name }
func (c cell) peerName() string { return bareA + ": " + c.peer.name }

func rowsFor(w works, products []string) []cell {
	// On the bare side every dispatch is nevisFIDO's own, and costs the same.
	cells := []cell{
		{w.foreign, bareA, w.foreign, goals{}},
		{w.foreign, bareB, w.foreign, goals{}},
		{w.own, bareA, w.own, goals{}},
		{w.own, bareB, w.own, goals{}},
	}
	for _, p := range products {
		cells = append(cells,
			cell{w.foreign, p, w.foreign, goals{rate: 0.98, cpu: 1.03, p99: 1.05}},
			cell{w.own, p, w.own, goals{rate: 0.92}},
			cell{w.clear, p, w.own, goals{rate: 0.62}},
			cell{w.sealed, p, w.own, goals{rate: 0.55, p99: 1.6}},
			cell{w.picture, p, w.own, goals{}},
		)
	}
	return cells
}

func report(cells []cell, results map[string][]sample) {
	fmt.Printf("%-40s %22s %22s %22s %10s\n", "", "rate, × bare", "CPU, × bare", "p99, × bare", "CPU, µs")
	for _, c := range cells {
		if c.server == bareA {
			continue
		}
		own, peer := results[c.name()], results[c.peerName()]
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

package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
)

// The servers that are measured.
const (
	bareA      = "bare"
	bareB      = "bare again"
	product    = "product"
	productOld = "old"
	gorush     = "gorush"
)

// A work is what callers ask for.
type work struct {
	name   string
	make   func() []byte // one request
	expect string        // a piece of a right answer
}

// works are all that is measured.
type works struct{ foreign, own, clear, sealed, picture, push, gorush *work }

// worksOn asks for targets in turn, of which there are so many of each kind, so that
// no limit is reached.
func worksOn(targets int) works {
	var clear, sealed, uncounted atomic.Int64 // how often targets of a kind were asked for
	dispatch := func(name, dispatcher, kind string, n *atomic.Int64) *work {
		return &work{name, func() []byte {
			return request("POST", "/nevisfido/token/dispatch/authentication", fmt.Sprintf(
				`{"dispatcher":%q,"dispatchTargetId":"%s-%d","getUafRequest":{"op":"Auth","context":"{\"username\":\"jeff\"}"}}`,
				dispatcher, kind, n.Add(1)%int64(targets)))
		}, `"dispatched"`}
	}
	foreign := func() []byte { return request("POST", "/nevisfido/status", `{"sessionId":"0b0a6b12"}`) }
	return works{
		foreign: &work{"traffic that is not ours", foreign, "clientTokenCreated"},
		own:     dispatch("nevisFIDO's own dispatcher", "link", kindClear, &uncounted),
		clear:   dispatch("link in clear", "app-link", kindClear, &clear),
		sealed:  dispatch("link sealed for RSA-2048", "app-link", kindRSA, &sealed),
		picture: dispatch("QR code of a link in clear", "app-qr", kindClear, &clear),
		push:    dispatch("FCM, sealed for RSA-2048", "push", kindRSA, &sealed),
		gorush:  &work{"FCM, as it is given", gorushRequest(targets), `{"counts":1,"logs":[],"success":"ok"}`},
	}
}

// gorushRequest asks for messages of the size that ours have.
func gorushRequest(targets int) func() []byte {
	sealed := strings.Repeat("A", 900)
	var n atomic.Int64
	return func() []byte {
		return request("POST", "/api/push", fmt.Sprintf(`{"notifications":[{"tokens":[%q],"platform":2,"priority":"high","title":"Example Bank","message":"Please confirm in the app",`+
			`"data":{"nma_data":%q,"nma_data_content_type":"application/jose","nma_data_version":"1"}}]}`, pushToken(int(n.Add(1))%targets), sealed))
	}
}

// goals are the limits of a row against its peer; 0 means none.
type goals struct{ rate, cpu, p99 float64 }

// A cell is what a round measures once: a work on a server.
type cell struct {
	work   *work
	server string
}

func (c cell) name() string { return c.server + ": " + c.work.name }

// A row of the table compares a cell with that of a peer.
type row struct {
	cell
	peer  cell
	goals goals
}

// rowsFor are those of the servers that run.
func rowsFor(w works, servers map[string]*server) (rows []row) {
	// On the bare side every dispatch is nevisFIDO's own, and costs the same.
	foreign, own := cell{w.foreign, bareA}, cell{w.own, bareA}
	rows = append(rows, row{cell{w.foreign, bareB}, foreign, goals{}}, row{cell{w.own, bareB}, own, goals{}})
	for _, p := range []string{product, productOld} {
		if servers[p] == nil {
			continue
		}
		rows = append(rows,
			row{cell{w.foreign, p}, foreign, goals{rate: 0.98, cpu: 1.03, p99: 1.05}},
			row{cell{w.own, p}, own, goals{rate: 0.92}},
			row{cell{w.clear, p}, own, goals{rate: 0.62}},
			row{cell{w.sealed, p}, own, goals{rate: 0.55, p99: 1.6}},
			row{cell{w.picture, p}, own, goals{}},
		)
		if servers[gorush] != nil {
			rows = append(rows, row{cell{w.push, p}, cell{w.gorush, gorush}, goals{rate: 0.75, p99: 1.3}})
		}
	}
	return rows
}

// cellsOf are those that the rows need, each once.
func cellsOf(rows []row) (cells []cell) {
	for _, r := range rows {
		for _, c := range []cell{r.peer, r.cell} {
			if !slices.Contains(cells, c) {
				cells = append(cells, c)
			}
		}
	}
	return cells
}

func report(rows []row, results map[cell][]sample) {
	fmt.Printf("%-40s %-8s %20s %20s %20s %10s\n", "", "against", "rate, ratio", "CPU, ratio", "p99, ratio", "CPU, µs")
	for _, r := range rows {
		own, peer := results[r.cell], results[r.peer]
		wrong := wrongAnswers(r.name(), own) + wrongAnswers(r.peer.name(), peer)
		if wrong != "" { // it is not the work that the goals are for
			r.goals = goals{}
		}
		rate := ratios(own, peer, func(s sample) float64 { return s.rate })
		cpu := ratios(own, peer, func(s sample) float64 { return s.cpu })
		p99 := ratios(own, peer, func(s sample) float64 { return s.p99 })
		var perRequest []float64
		for _, s := range own {
			perRequest = append(perRequest, s.cpu)
		}
		fmt.Printf("%-40s %-8s %20s %20s %20s %10.0f%s\n", r.name(), r.peer.server, atLeast(rate, r.goals.rate), atMost(cpu, r.goals.cpu), atMost(p99, r.goals.p99),
			median(perRequest), wrong)
	}
}

func wrongAnswers(name string, samples []sample) string {
	wrong, all := 0, 0
	for _, s := range samples {
		wrong, all = wrong+s.wrong, all+s.requests
	}
	if wrong == 0 {
		return ""
	}
	return fmt.Sprintf("  %s: %d of %d answers were not the expected ones", name, wrong, all)
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
		return fmt.Sprintf("%.3f", m)
	case holds:
		return fmt.Sprintf("%.3f (%.2f holds)", m, goal)
	}
	return fmt.Sprintf("%.3f (%.2f MISSED)", m, goal)
}

// above is the processor time of a cell above that of another, in µs. It is no
// number where answers were not the expected ones.
func above(results map[cell][]sample, one, other cell) float64 {
	var all []float64
	for i, s := range results[one] {
		if s.wrong > 0 {
			return math.NaN()
		}
		all = append(all, s.cpu-results[other][i].cpu)
	}
	return median(all)
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

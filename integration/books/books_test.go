package books

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// The environment variables that make the tests longer; see docs/books.md.
const (
	booksVariable = "OOB_BOOKS" // a number of dispatches
	soakVariable  = "OOB_SOAK"  // a duration
)

// Of many dispatches at once, with faults at all parties, the books agree.
func TestBooks(t *testing.T) {
	t.Parallel()
	n := 1200
	if text := os.Getenv(booksVariable); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", booksVariable, err)
		}
	} else {
		testservice.Slow(t, "1,200 dispatches, each opened by a phone")
	}
	p := start(t)
	p.fail(n)
	begin := time.Now()
	jobs := make(chan struct{})
	var callers sync.WaitGroup
	for range 24 {
		callers.Go(func() {
			for range jobs {
				p.dispatch()
			}
		})
	}
	for range n {
		jobs <- struct{}{}
	}
	close(jobs)
	callers.Wait()
	t.Logf("%d dispatches in %v", n, time.Since(begin).Round(time.Second))
	p.agree()
}

// settled waits until nothing is under way: members of a fan_out go on after the
// answer. It returns the metrics then.
func (p *product) settled() (metrics map[string]float64) {
	p.t.Helper()
	answered := 0
	for _, c := range p.calls {
		if c.status != 0 {
			answered++
		}
	}
	quiet, count := 0, -1.0
	for end := time.Now().Add(patience); quiet < 5 && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		metrics = p.scrape()
		now := sum(metrics, "dispatches_total")
		if quiet++; now != count || now < float64(answered) || sum(metrics, "in_flight") != 0 {
			quiet = 0
		}
		count = now
	}
	return metrics // what is missing is found by the comparison
}

// close ends the product, and returns the books.
func (p *product) close() books {
	p.t.Helper()
	b := books{calls: p.calls, metrics: p.settled()}
	p.server.Terminate(p.t)
	p.t.Logf("%s", p.run("oob", "audit", "verify", p.path("audit.jsonl"), "--key", p.public))
	decoder := json.NewDecoder(bytes.NewReader(p.run("oob", "explain", p.path("audit.jsonl"), "--since", "24h", "--json")))
	for {
		var l struct {
			Event string `json:"event"`
			line
		}
		if err := decoder.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			p.t.Fatal(err)
		}
		if l.Event == "dispatch" {
			b.lines = append(b.lines, l.line)
		}
	}
	b.receipts = append(p.receipts(p.t, p.phones, p.hash), p.seen...)
	return b
}

// agree fails the test for each disagreement of the books.
func (p *product) agree() {
	p.t.Helper()
	f, found := p.close().compare()
	p.t.Logf("%v; %d faults beside those of mails", f, p.struck)
	for i, finding := range found {
		if i == 20 {
			p.t.Errorf("and %d more", len(found)-i)
			break
		}
		p.t.Errorf("%s: %s", finding.kind, finding.what)
	}
}

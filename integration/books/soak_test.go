package books

import (
	"os"
	"sync"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// While dispatches go through all channels and the configuration is replaced
// again and again, memory, goroutines and descriptors of the product stay; when
// it is at rest, its goroutines and descriptors are those of before; and the
// books agree. The short form has too few samples to tell of memory.
func TestSoak(t *testing.T) {
	t.Parallel()
	const callers = 8
	duration, pause, idle := 4*time.Second, 400*time.Millisecond, 250*time.Millisecond // idle is a caller's
	text := os.Getenv(soakVariable)
	if text != "" {
		var err error
		if duration, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", soakVariable, err)
		}
		pause, idle = 5*time.Second, 600*time.Millisecond
	} else {
		testservice.Slow(t, "reloads and dispatches, and the rest after them")
	}
	p := start(t)
	p.fail(int(duration/idle) * callers / 10)
	reloads := 0
	reload := func() {
		reloads++
		p.reload(reloads)
	}
	use := func(duration time.Duration) (series [][]float64) {
		stop := p.load(callers, idle)
		defer stop()
		series = make([][]float64, len(measures))
		begin, tick := time.Now(), time.NewTicker(pause)
		defer tick.Stop()
		for range duration / pause {
			<-tick.C
			reload()
			values := p.sample()
			for i, value := range values {
				series[i] = append(series[i], value)
			}
			if reloads%24 == 0 {
				t.Logf("%v: %s", time.Since(begin).Round(time.Second), format(values))
			}
		}
		return series
	}
	// rest waits until nothing is under way, and the product measures what is
	// enough. With a reload the idle connections of dispatchers end, which are kept
	// for a while. Between two measures passes what those to nevisFIDO live at most.
	rest := func(enough func(values []float64) bool) (values []float64) {
		p.settled()
		reload()
		testservice.Until(t, func() bool {
			p.client.CloseIdleConnections()
			time.Sleep(keepalive)
			values = p.sample()
			return enough(values)
		}, func() string { return format(values) + "\n" + p.goroutines() })
		return values
	}

	use(3 * pause)
	before := p.sample()
	rest(func(values []float64) bool {
		settled := values[goroutines] == before[goroutines] && values[descriptors] == before[descriptors]
		before = values
		return settled
	})
	t.Logf("at rest: %s", format(before))
	begun := reloads
	series := use(duration)
	after := rest(func(values []float64) bool {
		// A few may be on their way out.
		return values[goroutines] <= before[goroutines]+4 && values[descriptors] <= before[descriptors]+4
	})
	t.Logf("at rest after %v with %d reloads: %s", duration, reloads-begun, format(after))
	for i, m := range measures {
		rose, earlier, later := rises(series[i], m.slack)
		if t.Logf("%s: median of the second third %.1f, of the last third %.1f", m.name, earlier, later); rose && text != "" {
			t.Errorf("%s rose: %.1f", m.name, series[i])
		}
	}
	p.agree()
}

// load has callers dispatch, each with a pause after its last answer, until stop.
func (p *product) load(callers int, pause time.Duration) (stop func()) {
	var running sync.WaitGroup
	done := make(chan struct{})
	for range callers {
		running.Go(func() {
			for {
				select {
				case <-time.After(pause):
					p.dispatch()
				case <-done:
					return
				}
			}
		})
	}
	return func() {
		close(done)
		running.Wait()
	}
}

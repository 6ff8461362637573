package books

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// A load is a steady stream of dispatches over all channels.
type load struct {
	stop context.CancelFunc
	done sync.WaitGroup
}

// load begins a stream with so many dispatches a second.
func (p *product) load(rate int) *load {
	ctx, stop := context.WithCancel(p.t.Context())
	l := &load{stop: stop}
	l.done.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				l.done.Go(p.dispatch)
			case <-ctx.Done():
				return
			}
		}
	})
	return l
}

func (l *load) end() {
	l.stop()
	l.done.Wait()
}

// Goroutines and descriptors of the product are those of before once the
// dispatches that were under way during reloads have ended, and the books agree.
func TestReloadsLeaveNothing(t *testing.T) {
	p := start(t)
	p.fail(100)
	round := func(reloads int) {
		l := p.load(25)
		defer l.end()
		for i := range reloads {
			time.Sleep(300 * time.Millisecond)
			p.reload(i + 1)
		}
	}
	const goroutines, descriptors = 2, 3 // of the measures
	rest := func(enough func(values []float64) bool) (values []float64) {
		p.settled()
		p.client.CloseIdleConnections()
		testservice.Until(t, func() bool {
			values = p.sample()
			return enough(values)
		}, func() string { return format(values) + "\n" + p.goroutines() })
		return values
	}
	round(4)
	lowest := p.sample()
	begin := time.Now()
	rest(func(values []float64) bool {
		for i := range values {
			lowest[i] = min(lowest[i], values[i])
		}
		return time.Since(begin) > 2*time.Second
	})
	t.Logf("before: %s", format(lowest))
	round(20)
	after := rest(func(values []float64) bool {
		// Some may still be on their way out; twenty of something are a leak.
		return values[goroutines] <= lowest[goroutines]+5 && values[descriptors] <= lowest[descriptors]+5
	})
	t.Logf("after 20 reloads: %s", format(after))
	p.agree()
}

// Over a long time with dispatches and reloads, memory, goroutines and
// descriptors of the product stay, and the books agree.
func TestSoak(t *testing.T) {
	text := os.Getenv(soakVariable)
	if text == "" {
		return // TestReloadsLeaveNothing is the short form
	}
	duration, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", soakVariable, err)
	}
	p := start(t)
	p.fail(10_000)
	l := p.load(12)
	var series [][]float64 // by measure
	for range measures {
		series = append(series, nil)
	}
	reloads := 0
	for begin := time.Now(); time.Since(begin) < duration; {
		time.Sleep(5 * time.Second)
		reloads++
		p.reload(reloads)
		if reloads%2 == 0 {
			continue
		}
		values := p.sample()
		for i, value := range values {
			series[i] = append(series[i], value)
		}
		if reloads%24 == 1 {
			t.Logf("%v: %s", time.Since(begin).Round(time.Second), format(values))
		}
	}
	l.end()
	t.Logf("%v, %d reloads", duration, reloads)
	for i, m := range measures {
		rose, earlier, later := rises(series[i], m.slack)
		if t.Logf("%s: median of the second third %.1f, of the last third %.1f", m.name, earlier, later); rose {
			t.Errorf("%s rose: %.1f", m.name, series[i])
		}
	}
	p.agree()
}

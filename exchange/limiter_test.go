package exchange

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

func countOf(key string, n int, window time.Duration) Count {
	return Count{Key: key, Limit: dispatchers.Limit{Scope: dispatchers.PerTarget, N: n, Window: window}}
}

func TestSlidingWindow(t *testing.T) {
	clock := time.Now()
	l := NewMemoryLimiter()
	l.now = func() time.Time { return clock }
	for i, step := range []struct {
		after time.Duration
		want  bool
	}{
		{0, true},
		{30 * time.Second, true},
		{0, false},
		{30*time.Second - 1, false}, // the first is still within the window
		{1, true},                   // and now no more
		{0, false},
		{30 * time.Second, true},
		{time.Hour, true},
		{0, true},
		{0, false},
	} {
		clock = clock.Add(step.after)
		reached, err := l.Take(t.Context(), []Count{countOf("a", 2, time.Minute)})
		if err != nil || (reached == nil) != step.want {
			t.Errorf("step %d: got %v, %v, want %v", i, reached, err, step.want)
		}
	}
}

// Of several limits all are counted, or none.
func TestAllOrNothing(t *testing.T) {
	l := NewMemoryLimiter()
	tight, wide := countOf("tight", 1, time.Hour), countOf("wide", 2, time.Hour)
	for i, want := range []string{"", "tight", "tight"} {
		reached, err := l.Take(t.Context(), []Count{wide, tight})
		if err != nil {
			t.Fatal(err)
		}
		if got := keyOf(reached); got != want {
			t.Errorf("%d: got %q, want %q", i, got, want)
		}
	}
	for i, want := range []string{"", "wide"} {
		reached, _ := l.Take(t.Context(), []Count{wide})
		if got := keyOf(reached); got != want {
			t.Errorf("%d: the refused ones were counted: got %q", i, got)
		}
	}
}

func keyOf(c *Count) string {
	if c == nil {
		return ""
	}
	return c.Key
}

func TestLimiterIsExactInParallel(t *testing.T) {
	l := NewMemoryLimiter()
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				if reached, _ := l.Take(t.Context(), []Count{countOf("a", 100, time.Hour)}); reached == nil {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if allowed.Load() != 100 {
		t.Errorf("%d allowed of 100", allowed.Load())
	}
}

// Hostile ids cannot take more than a bounded memory: what was used longest
// ago is forgotten.
func TestCountersAreBounded(t *testing.T) {
	l := NewMemoryLimiter()
	take := func(key string) bool {
		reached, err := l.Take(t.Context(), []Count{countOf(key, 2, time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		return reached == nil
	}
	take("oldest")
	take("oldest")
	for i := range maxCounters - 1 {
		take(fmt.Sprint(i))
	}
	if take("oldest") {
		t.Error("a counter was forgotten too early")
	}
	take("0") // used just now
	take("one more")
	if len(l.counters) != maxCounters || l.recent.Len() != maxCounters {
		t.Errorf("%d counters", len(l.counters))
	}
	if !take("oldest") || take("0") {
		t.Error("another counter was forgotten than the one used longest ago")
	}
}

func BenchmarkLimiter(b *testing.B) {
	l := NewMemoryLimiter()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		_, _ = l.Take(b.Context(), []Count{countOf(fmt.Sprint(i%1000), 5, time.Minute), countOf(fmt.Sprint("h", i%1000), 15, time.Hour)})
	}
}

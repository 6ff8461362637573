package exchange

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

func countOf(key string, n int, window time.Duration) targets.Count {
	return targets.Count{Key: key, N: n, Window: window}
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
		reached, err := l.TakeAll(t.Context(), []targets.Count{countOf("a", 2, time.Minute)})
		if err != nil || (reached < 0) != step.want {
			t.Errorf("step %d: got %v, %v, want %v", i, reached, err, step.want)
		}
	}
}

// Of several limits all are counted, or none.
func TestAllOrNothing(t *testing.T) {
	l := NewMemoryLimiter()
	tight, wide := countOf("tight", 1, time.Hour), countOf("wide", 2, time.Hour)
	for i, want := range []string{"", "tight", "tight"} {
		counts := []targets.Count{wide, tight}
		reached, err := l.TakeAll(t.Context(), counts)
		if err != nil {
			t.Fatal(err)
		}
		if got := keyOf(counts, reached); got != want {
			t.Errorf("%d: got %q, want %q", i, got, want)
		}
	}
	for i, want := range []string{"", "wide"} {
		counts := []targets.Count{wide}
		reached, _ := l.TakeAll(t.Context(), counts)
		if got := keyOf(counts, reached); got != want {
			t.Errorf("%d: the refused ones were counted: got %q", i, got)
		}
	}
}

func keyOf(counts []targets.Count, reached int) string {
	if reached < 0 {
		return ""
	}
	return counts[reached].Key
}

func TestLimiterIsExactInParallel(t *testing.T) {
	l := NewMemoryLimiter()
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				if reached, _ := l.TakeAll(t.Context(), []targets.Count{countOf("a", 100, time.Hour)}); reached < 0 {
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
		reached, err := l.TakeAll(t.Context(), []targets.Count{countOf(key, 2, time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		return reached < 0
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
		_, _ = l.TakeAll(b.Context(), []targets.Count{countOf(fmt.Sprint(i%1000), 5, time.Minute), countOf(fmt.Sprint("h", i%1000), 15, time.Hour)})
	}
}

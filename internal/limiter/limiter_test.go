package limiter

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

func countOf(key string, n int, window time.Duration) targets.Count {
	return targets.Count{Key: key, N: n, Window: window}
}

// Of several limits all are counted, or none.
func TestAllOrNothing(t *testing.T) {
	l := New()
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

// taken counts n times, and returns how many of them were allowed.
func taken(t *testing.T, l *Memory, c targets.Count, n int) (allowed int) {
	t.Helper()
	for range n {
		reached, err := l.TakeAll(t.Context(), []targets.Count{c})
		if err != nil {
			t.Fatal(err)
		}
		if reached < 0 {
			allowed++
		}
	}
	return allowed
}

// take counts once, and reports whether that was allowed.
func take(t *testing.T, l *Memory, c targets.Count) bool {
	t.Helper()
	return taken(t, l, c, 1) == 1
}

// small makes a limiter with room for so many counters of each kind.
func small(size int) *Memory {
	return &Memory{known: newCounters(size), apart: newCounters(size)}
}

// Whatever else is counted, a limit that is reached stays reached, and what is
// below its limit is dropped in the order of its use.
func TestCountersInForceAreKept(t *testing.T) {
	for _, apart := range []bool{false, true} {
		l := small(100)
		of := func(key string) targets.Count {
			return targets.Count{Key: key, N: 2, Window: time.Hour, Apart: apart}
		}
		take(t, l, of("victim"))
		take(t, l, of("victim"))
		take(t, l, of("old"))
		take(t, l, of("recent"))
		for i := range 97 {
			take(t, l, of(fmt.Sprint(i)))
		}
		take(t, l, of("recent")) // reaches its limit
		for i := range 1000 {
			if !take(t, l, of(fmt.Sprint("noise ", i))) {
				t.Fatal("one who took no part was refused")
			}
		}
		if take(t, l, of("victim")) || take(t, l, of("recent")) {
			t.Error("noise lifted a limit")
		}
		if taken(t, l, of("old"), 2) != 2 {
			t.Error("what was used longest ago was kept")
		}
		if n := len(l.known.slots) + len(l.apart.slots); n != 102 {
			t.Errorf("%d counters", n-2)
		}
	}
}

// Where all room is taken by those who have reached their limits nobody else is
// locked out, and there is room again when their windows are over.
func TestNobodyIsLockedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := small(100)
		of := func(key string) targets.Count { return countOf(key, 1, time.Minute) }
		for i := range 100 {
			take(t, l, of(fmt.Sprint(i)))
		}
		for range 3 {
			if !take(t, l, of("late")) {
				t.Error("one who took no part was refused")
			}
		}
		if take(t, l, of("0")) || take(t, l, of("99")) {
			t.Error("noise lifted a limit")
		}
		time.Sleep(time.Minute)
		if taken(t, l, of("late"), 2) != 1 {
			t.Error("the limit does not hold when there is room again")
		}
	})
}

// What a caller makes up pushes out nothing that is known, and the other way
// round.
func TestCountersApart(t *testing.T) {
	l := small(10)
	mine := targets.Count{Key: "mine", N: 2, Window: time.Hour}
	foreign := targets.Count{Key: "mine", N: 2, Window: time.Hour, Apart: true}
	take(t, l, mine)
	take(t, l, foreign)
	for i := range 100 {
		take(t, l, targets.Count{Key: fmt.Sprint(i), N: 9, Window: time.Hour, Apart: true})
	}
	if taken(t, l, mine, 2) != 1 {
		t.Error("the counter of a known one was dropped")
	}
	if taken(t, l, foreign, 3) != 2 {
		t.Error("counters apart have more room than they should")
	}
}

// A limiter does what a list of times for each key does.
func TestLimiterAgainstAModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ testing.TB }{t}, checkLimiter) // in a bubble a test has no deadline to ask for
	})
}

func checkLimiter(t *rapid.T) {
	l := small(50)
	model := make(map[string][]time.Time)
	counts := make([]targets.Count, 5)
	for i := range counts {
		counts[i] = targets.Count{
			Key: fmt.Sprint(i), N: rapid.IntRange(1, 17).Draw(t, "n"),
			Window: time.Duration(rapid.IntRange(1, 50).Draw(t, "window")),
		}
	}
	for range rapid.IntRange(1, 200).Draw(t, "steps") {
		c := counts[rapid.IntRange(0, len(counts)-1).Draw(t, "key")]
		time.Sleep(time.Duration(rapid.IntRange(0, 5).Draw(t, "pause")))
		if rapid.IntRange(0, 4).Draw(t, "give back") == 0 {
			_ = l.GiveBack(context.Background(), []targets.Count{c})
			model[c.Key] = model[c.Key][:max(0, len(model[c.Key])-1)]
			continue
		}
		for len(model[c.Key]) > 0 && !model[c.Key][0].After(time.Now().Add(-c.Window)) {
			model[c.Key] = model[c.Key][1:]
		}
		want := len(model[c.Key]) < c.N
		if want {
			model[c.Key] = append(model[c.Key], time.Now())
		}
		if reached, _ := l.TakeAll(context.Background(), []targets.Count{c}); (reached < 0) != want {
			t.Fatalf("got %v, want %v", reached < 0, want)
		}
	}
	used := 0
	for block := l.known.freeBlock; block != 0; block = l.known.times[block].next {
		used++
	}
	for _, s := range l.known.slots[1:] {
		for block := s.first; block != 0; block = l.known.times[block].next {
			used++
		}
	}
	if used != len(l.known.times)-1 {
		t.Fatalf("%d of %d blocks are lost", len(l.known.times)-1-used, len(l.known.times)-1)
	}
}

func BenchmarkLimiter(b *testing.B) {
	l := New()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		_, _ = l.TakeAll(b.Context(), []targets.Count{countOf(fmt.Sprint(i%1000), 5, time.Minute), countOf(fmt.Sprint("h", i%1000), 15, time.Hour)})
	}
}

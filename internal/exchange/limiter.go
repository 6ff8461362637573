package exchange

import (
	"container/list"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// MaxLimit is the highest number that a limit may allow within its window: the
// time of every one is kept.
const MaxLimit = 10_000

// maxCounters bounds the memory that hostile ids can take. The counters that
// were used longest ago go first.
const maxCounters = 100_000

// MemoryLimiter counts within this process, as a store does for all who share
// it.
type MemoryLimiter struct {
	now func() time.Time // replaced in tests

	mu       sync.Mutex
	counters map[string]*list.Element // of *counter
	recent   *list.List               // most recently used first
}

type counter struct {
	key   string
	times []time.Time // oldest first
}

// NewMemoryLimiter makes an empty limiter.
func NewMemoryLimiter() *MemoryLimiter {
	return &MemoryLimiter{now: time.Now, counters: make(map[string]*list.Element), recent: list.New()}
}

// TakeAll implements targets.SharedCounter.
func (l *MemoryLimiter) TakeAll(_ context.Context, counts []targets.Count) (reached int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for i, c := range counts {
		element, ok := l.counters[c.Key]
		if !ok {
			continue
		}
		n := element.Value.(*counter)
		n.forget(now.Add(-c.Window))
		if len(n.times) >= c.N {
			return i, nil
		}
	}
	for _, c := range counts {
		n := l.counter(c.Key)
		n.times = append(n.times, now)
	}
	return -1, nil
}

// GiveBack implements targets.SharedCounter.
func (l *MemoryLimiter) GiveBack(_ context.Context, counts []targets.Count) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range counts {
		if element, ok := l.counters[c.Key]; ok {
			n := element.Value.(*counter)
			n.times = n.times[:max(0, len(n.times)-1)]
		}
	}
	return nil
}

func (n *counter) forget(before time.Time) {
	i := slices.IndexFunc(n.times, func(t time.Time) bool { return t.After(before) })
	if i < 0 {
		i = len(n.times)
	}
	n.times = slices.Delete(n.times, 0, i)
}

func (l *MemoryLimiter) counter(key string) *counter {
	if element, ok := l.counters[key]; ok {
		l.recent.MoveToFront(element)
		return element.Value.(*counter)
	}
	if l.recent.Len() >= maxCounters {
		oldest := l.recent.Back()
		l.recent.Remove(oldest)
		delete(l.counters, oldest.Value.(*counter).key)
	}
	n := &counter{key: key}
	l.counters[key] = l.recent.PushFront(n)
	return n
}

var _ targets.SharedCounter = (*MemoryLimiter)(nil)

// Package limiter counts dispatches within one process, for the option limit.
package limiter

import (
	"context"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// MaxLimit is the highest number that a limit may allow within its window: the
// time of every one is kept.
const MaxLimit = 10_000

// How many counters there may be: about 150 bytes each, and 10 more for each
// dispatch that is counted beyond five. A target has one for each limit.
const (
	maxCounters      = 400_000
	maxCountersApart = 100_000 // see targets.Count.Apart
)

// Memory counts within this process, as a store does for all who share
// it.
//
// Whatever ids a caller makes up, a counter that has reached its limit stays
// until its window is over. What is dropped for lack of room are counters below
// their limit, the one that was used longest ago first. Where all counters have
// reached their limits, further ids are not counted: a flood must not lock out
// those who took no part in it.
type Memory struct {
	mu           sync.Mutex
	known, apart *counters
}

// New makes an empty limiter.
func New() *Memory {
	return &Memory{known: newCounters(maxCounters), apart: newCounters(maxCountersApart)}
}

func (l *Memory) counters(c targets.Count) *counters {
	if c.Apart {
		return l.apart
	}
	return l.known
}

// TakeAll implements targets.Counter.
func (l *Memory) TakeAll(_ context.Context, counts []targets.Count) (reached int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now().UnixNano()
	for i, c := range counts {
		if l.counters(c).reached(c.Key, now) {
			return i, nil
		}
	}
	for _, c := range counts {
		l.counters(c).add(c, now)
	}
	return -1, nil
}

// GiveBack implements targets.Counter.
func (l *Memory) GiveBack(_ context.Context, counts []targets.Count) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range counts {
		l.counters(c).giveBack(c.Key)
	}
	return nil
}

var _ targets.Counter = (*Memory)(nil)

package limiter

import (
	"hash/maphash"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// counters is a table of sliding windows. It holds no pointers: the garbage
// collector would follow each of them at every collection, at the cost of all
// traffic. In place of pointers there are indexes; 0 stands for none.
type counters struct {
	max   int
	seeds [2]maphash.Seed
	index map[counterID]uint32

	slots     []counter   // the first is the ring of those that may be dropped
	times     []timeBlock // the first is unused
	freeBlock uint32

	swept int64 // when it was last looked for counters that may be dropped again
}

// counterID is a hash of a key, 128 bits with seeds that nobody knows.
type counterID [2]uint64

// A counter is one sliding window.
type counter struct {
	id          counterID
	window      int64  // nanoseconds
	limit       uint32 // how many the window allows
	n           uint32 // how many are in the window
	first, last uint32 // blocks with their times
	start       uint32 // index of the oldest in the first block

	// The neighbours in the ring of counters that may be dropped, from the one
	// used longest ago to the one used last. A counter that has reached its
	// limit is not in the ring.
	prev, next uint32
}

const blockTimes = 5

// timeBlock holds the times of a counter, oldest first, as Unix nanoseconds.
type timeBlock struct {
	times [blockTimes]int64
	next  uint32
}

// sweepPause is the least time between two searches of the whole table.
const sweepPause = int64(time.Second)

func newCounters(max int) *counters {
	return &counters{
		max:   max,
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		index: make(map[counterID]uint32),
		slots: make([]counter, 1),
		times: make([]timeBlock, 1),
	}
}

func (t *counters) hash(key string) counterID {
	return counterID{maphash.String(t.seeds[0], key), maphash.String(t.seeds[1], key)}
}

// reached reports whether the counter of a key is at its limit.
func (t *counters) reached(key string, now int64) bool {
	i := t.index[t.hash(key)]
	if i == 0 {
		return false
	}
	t.forget(i, now)
	return t.slots[i].n >= t.slots[i].limit
}

// add counts once.
func (t *counters) add(c targets.Count, now int64) {
	id := t.hash(c.Key)
	i := t.index[id]
	if i == 0 {
		if i = t.newSlot(now); i == 0 {
			return
		}
		t.index[id] = i
		t.slots[i] = counter{id: id, window: int64(c.Window), limit: uint32(c.N)} //nolint:gosec // at most MaxLimit
	} else {
		t.unlink(i)
	}
	t.push(i, now)
	if s := &t.slots[i]; s.n < s.limit {
		t.link(i)
	}
}

// giveBack takes the newest off a counter.
func (t *counters) giveBack(key string) {
	i := t.index[t.hash(key)]
	if i == 0 || t.slots[i].n == 0 {
		return
	}
	t.unlink(i)
	s := &t.slots[i]
	s.n--
	switch end := s.start + s.n; {
	case s.n == 0:
		t.freeAfter(i, 0)
	case end%blockTimes == 0: // the last block is empty
		t.freeAfter(i, end/blockTimes)
	}
	t.link(i)
}

// newSlot returns a slot that is not in use, or 0 where there is no room: then
// all counters have reached their limits.
func (t *counters) newSlot(now int64) uint32 {
	if len(t.slots) <= t.max {
		t.slots = append(t.slots, counter{})
		return uint32(len(t.slots) - 1) //nolint:gosec // at most max
	}
	if t.slots[0].next == 0 {
		t.sweep(now)
	}
	oldest := t.slots[0].next
	if oldest == 0 {
		return 0
	}
	t.unlink(oldest)
	t.freeAfter(oldest, 0)
	delete(t.index, t.slots[oldest].id)
	return oldest
}

// sweep looks for counters whose windows went on, so that they may be dropped.
func (t *counters) sweep(now int64) {
	if now-t.swept < sweepPause {
		return
	}
	t.swept = now
	for i := 1; i < len(t.slots); i++ {
		t.forget(uint32(i), now)
	}
}

// forget takes the times off a counter that its window has left behind.
func (t *counters) forget(i uint32, now int64) {
	s := &t.slots[i]
	wasFull := s.n >= s.limit
	for s.n > 0 && t.times[s.first].times[s.start] <= now-s.window {
		s.n--
		if s.start++; s.start == blockTimes || s.n == 0 {
			block := s.first
			s.first, s.start = t.times[block].next, 0
			t.freeTimes(block)
		}
	}
	if s.n == 0 {
		s.first, s.last = 0, 0
	}
	if wasFull && s.n < s.limit {
		t.link(i)
	}
}

// push adds the newest time to a counter.
func (t *counters) push(i uint32, at int64) {
	s := &t.slots[i]
	end := s.start + s.n
	if end%blockTimes == 0 {
		block := t.newBlock()
		if s.first == 0 {
			s.first = block
		} else {
			t.times[s.last].next = block
		}
		s.last = block
	}
	t.times[s.last].times[end%blockTimes] = at
	s.n++
}

func (t *counters) newBlock() uint32 {
	if i := t.freeBlock; i != 0 {
		t.freeBlock = t.times[i].next
		t.times[i].next = 0
		return i
	}
	t.times = append(t.times, timeBlock{})
	return uint32(len(t.times) - 1) //nolint:gosec // bounded by the counters and their limits
}

func (t *counters) freeTimes(block uint32) {
	t.times[block].next = t.freeBlock
	t.freeBlock = block
}

// freeAfter frees the blocks of a counter after the first kept ones.
func (t *counters) freeAfter(i, kept uint32) {
	s := &t.slots[i]
	block, last := s.first, uint32(0)
	for range kept {
		block, last = t.times[block].next, block
	}
	for block != 0 {
		next := t.times[block].next
		t.freeTimes(block)
		block = next
	}
	if s.last = last; last == 0 {
		s.first, s.start = 0, 0
	} else {
		t.times[last].next = 0
	}
}

// link puts a counter into the ring, as the one used last.
func (t *counters) link(i uint32) {
	last := t.slots[0].prev
	t.slots[i].prev, t.slots[i].next = last, 0
	t.slots[last].next, t.slots[0].prev = i, i
}

// unlink takes a counter out of the ring, if it is there.
func (t *counters) unlink(i uint32) {
	s := &t.slots[i]
	if s.n >= s.limit {
		return
	}
	t.slots[s.prev].next, t.slots[s.next].prev = s.next, s.prev
	s.prev, s.next = 0, 0
}

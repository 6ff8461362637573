package targets

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets/internal/keylock"
)

// Bounds of what a process remembers, in bytes: some 50,000 changes. The
// reserve is for requests that are under way when it is said to be full.
const (
	maxDoubts     = 16 << 20
	doubtReserve  = 1 << 20
	doubtOverhead = 256 // of the maps, and more
)

// How often the store is tried while something is not written down.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 2 * time.Second
	maxFails   = 3 // of one round
)

// whyUnrecorded is the reason of an event about a change that nevisFIDO made
// while the store could not be told.
const whyUnrecorded = "unrecorded"

// Doubts is what a process remembers in place of a store that fails: targets
// and devices that nevisFIDO changed, and addresses that are gone. To every
// Directory that uses it such a target is stale, or in quarantine, at once. It
// is written into the store in the background as soon as that answers, so that
// other processes learn of it. What is not written when the process ends is
// forgotten.
//
// Where there is no room any more, all targets that were last changed before
// are in doubt until the process ends. Ask Full before that happens.
//
// Share one between the directories of the same store and namespace, over a
// change of the configuration. The zero Doubts is ready for use; a nil one
// remembers nothing.
type Doubts struct {
	mu       sync.Mutex
	known    map[subject]doubt
	size     int
	last     uint64    // number
	overflow time.Time // from when on there was no room

	writers []*Directory
	cancel  context.CancelFunc // of the work in the background; nil where there is none
	wake    chan struct{}
	done    chan struct{}

	locks keylock.Table // of the targets that are in doubt
}

// subject is a target or a device.
type subject struct {
	Ref
	device bool
}

func deviceOf(namespace, id string) subject { return subject{Ref{namespace, id}, true} }

func (s subject) cost() int { return len(s.Namespace) + len(s.ID) + doubtOverhead }

// doubt is what is remembered of a target or device.
type doubt struct {
	number  uint64 // another one after each addition; 0 for no doubt
	source  string // of the change
	changed bool   // nevisFIDO has changed it, or may have
	asked   int    // how many changes nevisFIDO is being asked for
	gone    string // hash of an address that is gone, or empty
}

func (d doubt) inDoubt() bool { return d.changed || d.asked > 0 }

func addressHash(address string) string {
	h := sha256.Sum256([]byte(address))
	return string(h[:])
}

// addChange remembers that nevisFIDO has changed something, or may have.
func (q *Doubts) addChange(s subject, source string, now time.Time) {
	q.add(s, now, func(d *doubt) { d.source, d.changed = source, true })
}

// addGone remembers that the address of a target is gone, if there is room: it
// does no harm to find that out again, and must not put all targets in doubt.
func (q *Doubts) addGone(ref Ref, address string, now time.Time) {
	if q.Full() {
		return
	}
	q.add(subject{Ref: ref}, now, func(d *doubt) { d.gone = addressHash(address) })
}

// ask remembers that nevisFIDO is being asked for a change, until the answer
// is given to the function that is returned.
func (q *Doubts) ask(s subject, source string, now time.Time) (answered func(outcome)) {
	if !q.add(s, now, func(d *doubt) { d.source = source; d.asked++ }) {
		return func(outcome) {}
	}
	return func(o outcome) {
		q.mu.Lock()
		defer q.mu.Unlock()
		d := q.known[s]
		d.asked--
		if o != refused {
			q.last++
			d.number, d.changed = q.last, true
		}
		if d.inDoubt() || d.gone != "" {
			q.known[s] = d
			return
		}
		q.forget(s)
	}
}

func (q *Doubts) add(s subject, now time.Time, set func(*doubt)) bool {
	if q == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	d, known := q.known[s]
	if !known && q.size+s.cost() > maxDoubts {
		q.overflow = now
		return false
	}
	if !known {
		q.size += s.cost()
	}
	if q.known == nil {
		q.known = make(map[subject]doubt)
	}
	q.last++
	d.number = q.last
	set(&d)
	q.known[s] = d
	select {
	case q.wake <- struct{}{}:
	default: // it is awake, or nobody is there
	}
	return true
}

// forget gives the room back. q.mu is held.
func (q *Doubts) forget(s subject) {
	delete(q.known, s)
	q.size -= s.cost()
}

// written takes away what is written down and was not added to since.
func (q *Doubts) written(s subject, number uint64) {
	if q == nil || number == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch d := q.known[s]; {
	case d.number != number:
	case d.asked > 0:
		d.changed, d.gone = false, ""
		q.known[s] = d
	default:
		q.forget(s)
	}
}

func (q *Doubts) of(s subject) doubt {
	if q == nil {
		return doubt{}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.known[s]
}

// lost tells whether a change of this record, nil for none, may be among those
// for which there was no room.
func (q *Doubts) lost(t *Target) bool {
	if q == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.overflow.IsZero() && (t == nil || !t.Updated.After(q.overflow))
}

// Len returns how many targets and devices are not written down yet.
func (q *Doubts) Len() int {
	if q == nil {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.known)
}

// Full tells that nevisFIDO should be asked for no more changes until the
// store answers.
func (q *Doubts) Full() bool {
	if q == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.size > maxDoubts-doubtReserve
}

// Overflowed tells that all targets are in doubt that were not changed since,
// because there was no room for more.
func (q *Doubts) Overflowed() bool {
	if q == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.overflow.IsZero()
}

// hold returns what is in doubt of a target and keeps others from settling it:
// a doubt must not be written over what ended it.
func (q *Doubts) hold(ctx context.Context, ref Ref) (d doubt, release func(), err error) {
	if q.of(subject{Ref: ref}).number == 0 {
		return doubt{}, func() {}, nil
	}
	release, err = q.locks.Lock(ctx, ref.Hash())
	if err != nil {
		return doubt{}, nil, err
	}
	return q.of(subject{Ref: ref}), release, nil
}

// Attach lets a directory write into its store what is in doubt, until detach
// is called. The one that was attached last does.
func (q *Doubts) Attach(d *Directory) (detach func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writers = append(q.writers, d)
	if q.cancel == nil {
		ctx, cancel := context.WithCancel(context.Background())
		q.cancel, q.done, q.wake = cancel, make(chan struct{}), make(chan struct{}, 1)
		go q.write(ctx, q.wake, q.done)
	}
	return sync.OnceFunc(func() { q.detach(d) })
}

func (q *Doubts) detach(d *Directory) {
	q.mu.Lock()
	i := slices.Index(q.writers, d)
	q.writers = slices.Delete(q.writers, i, i+1)
	if len(q.writers) > 0 {
		q.mu.Unlock()
		return
	}
	cancel, done := q.cancel, q.done
	q.cancel, q.done, q.wake = nil, nil, nil
	q.mu.Unlock()
	cancel()
	<-done
}

// write writes everything down, whenever there is something.
func (q *Doubts) write(ctx context.Context, wake <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	wait := firstRetry
	for ctx.Err() == nil {
		if q.Len() == 0 {
			wait = firstRetry
			select {
			case <-wake:
			case <-ctx.Done():
			}
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		wait = min(2*wait, lastRetry)
		if q.round(ctx) {
			wait = firstRetry
		}
	}
}

// round tries everything once, and ends early where the store fails. It tells
// whether something was written.
func (q *Doubts) round(ctx context.Context) (wrote bool) {
	q.mu.Lock()
	var d *Directory
	if n := len(q.writers); n > 0 {
		d = q.writers[n-1]
	}
	all := slices.Collect(maps.Keys(q.known))
	q.mu.Unlock()
	if d == nil {
		return false
	}
	fails := 0
	for _, s := range all {
		if fails == maxFails || ctx.Err() != nil {
			break
		}
		recall := d.recall
		if s.device {
			recall = d.recallDevice
		}
		err := recall(ctx, s.ID)
		wrote = wrote || err == nil
		if err != nil && !isUnreadable(err) { // of that one, no more
			fails++
		}
	}
	return wrote
}

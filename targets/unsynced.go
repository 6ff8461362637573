package targets

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets/internal/keylock"
)

// Bounds of what a process keeps, in bytes: some 50,000 changes. The reserve is
// for requests that are under way when it is said to be full.
const (
	maxUnsynced      = 16 << 20
	unsyncedReserve  = 1 << 20
	unsyncedOverhead = 256 // of the map, and more
)

// maxOutcomes bounds the changes whose outcome is recorded later. A target whose
// change is not stays stale, which is safe.
const maxOutcomes = 1000

// Unsynced is what nevisFIDO has done and the store did not take. To every
// Directory that shares it, it is part of the records at once; Directory.Run
// writes it as soon as the store takes it. What is not written when the process
// ends is lost.
//
// Share one between the directories of the same store and namespace, over a
// change of the configuration (SharedUnsynced). It holds the locks of the
// targets that change, too, which outlive a configuration for the same reason.
// The zero Unsynced is ready for use.
type Unsynced struct {
	mu       sync.Mutex
	targets  map[Ref]*unsynced
	outcomes []*Change // whose outcome is to be recorded
	size     int       // of targets, in bytes
	lost     bool      // there was no room for something

	// changing locks the targets that nevisFIDO is asked to change, so that it sees
	// the changes in the order in which they are recorded. writing locks those whose
	// record is written: what is unsynced must not be written over what ended it.
	changing, writing keylock.Table
}

// unsynced is what the store is to be told of one target. It never changes.
type unsynced struct {
	record *Target // that nevisFIDO has created
	change string  // the source of what nevisFIDO has changed since, or may have; "" for nothing
	gone   string  // an address
}

func (w *unsynced) cost(ref Ref) int {
	if w == nil {
		return 0
	}
	cost := unsyncedOverhead + len(ref.Namespace) + len(ref.ID) + len(w.gone)
	if r := w.record; r != nil {
		cost += 2*unsyncedOverhead + len(r.Username) + len(r.DeviceID) + len(r.Name) + len(r.Address) + len(r.EncryptionKey) + len(r.SignatureKey)
	}
	return cost
}

var sharedUnsynced sync.Map // of *Unsynced, by Ref{location, namespace}

// SharedUnsynced returns the Unsynced of the process for the store at a
// location, and a namespace in it.
func SharedUnsynced(location, namespace string) *Unsynced {
	u, _ := sharedUnsynced.LoadOrStore(Ref{location, namespace}, new(Unsynced))
	return u.(*Unsynced)
}

// Len returns how many targets and changes are unsynced.
func (u *Unsynced) Len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := len(u.targets)
	for _, c := range u.outcomes {
		if !c.takenBack {
			n++
		}
	}
	return n
}

// full tells that nevisFIDO should be asked for no more targets until the store
// takes what is unsynced.
func (u *Unsynced) full() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.size > maxUnsynced-unsyncedReserve
}

// overflowed tells that there was no room for a change, so that no record can be
// trusted until the process ends.
func (u *Unsynced) overflowed() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.lost
}

func (u *Unsynced) refs() []Ref {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Collect(maps.Keys(u.targets))
}

// of returns what is unsynced of a target, nil for nothing.
func (u *Unsynced) of(ref Ref) *unsynced {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.targets[ref]
}

// add edits what is unsynced of a target, if there is room for it.
func (u *Unsynced) add(ref Ref, edit func(*unsynced)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	before, after := u.targets[ref], new(unsynced)
	if before != nil {
		*after = *before
	}
	edit(after)
	grown := after.cost(ref) - before.cost(ref)
	if grown > 0 && u.size+grown > maxUnsynced {
		u.lost = true
		return
	}
	if u.targets == nil {
		u.targets = make(map[Ref]*unsynced)
	}
	u.targets[ref] = after
	u.size += grown
}

// keepChange keeps that nevisFIDO has changed a target, or may have.
func (u *Unsynced) keepChange(ref Ref, source string) {
	u.add(ref, func(w *unsynced) { w.change = source })
}

// create keeps a target that nevisFIDO has made, which says all of it.
func (u *Unsynced) create(t *Target) {
	u.add(t.Ref(), func(w *unsynced) { *w = unsynced{record: t} })
}

// expire keeps that an address is gone, unless that takes the room of something
// else: it does no harm to find it out again.
func (u *Unsynced) expire(ref Ref, address string) {
	if !u.full() {
		u.add(ref, func(w *unsynced) { w.gone = address })
	}
}

// written takes away what was written, if nothing was added since.
func (u *Unsynced) written(ref Ref, w *unsynced) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if w != nil && u.targets[ref] == w {
		delete(u.targets, ref)
		u.size -= w.cost(ref)
	}
}

// keepOutcome keeps a change whose outcome is to be recorded.
func (u *Unsynced) keepOutcome(c *Change) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.outcomes) < maxOutcomes {
		u.outcomes = append(u.outcomes, c)
	}
}

// takeOutcomes hands those changes over.
func (u *Unsynced) takeOutcomes() []*Change {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := u.outcomes
	u.outcomes = nil
	return all
}

// Bounds of Run.
const (
	flushInterval = time.Second
	flushFails    = 3 // of one round
)

// Run writes what is unsynced into the store, until the context ends.
func (d *Directory) Run(ctx context.Context) {
	ticker := time.NewTicker(flushInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			d.Flush(ctx)
		}
	}
}

// Flush tries once to write what is unsynced. It ends early if the store fails.
func (d *Directory) Flush(ctx context.Context) {
	fails := 0
	for _, c := range d.Unsynced.takeOutcomes() {
		unsynced := true
		if fails < flushFails && ctx.Err() == nil {
			c.d, c.retried = d, true
			err := c.record(ctx)
			unsynced = err != nil || c.takenBack
			if err != nil {
				fails++
			}
		}
		if unsynced && d.now().Before(c.until) {
			d.Unsynced.keepOutcome(c)
		}
	}
	for _, ref := range d.Unsynced.refs() {
		if fails == flushFails || ctx.Err() != nil {
			return
		}
		if err := d.flush(ctx, ref); err != nil && !isCorrupt(err) {
			fails++
		}
	}
}

func (d *Directory) flush(ctx context.Context, ref Ref) error {
	const doing = "writing what the store was not told"
	asItIs := func(_ Ref, current *Target) (*Target, []Event) { return current, nil }
	if w := d.Unsynced.of(ref); w != nil && w.record != nil {
		return d.overwrite(ctx, ref, doing, w.record.Source, asItIs)
	}
	return d.update(ctx, ref, doing, asItIs)
}

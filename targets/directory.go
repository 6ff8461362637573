package targets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/targets/internal/keylock"
)

// ErrUnavailable reports that nothing can be said about a target now: the
// store or a key source failed, or the record is damaged. The target may exist
// and have a key, so nothing may be sent in clear.
var ErrUnavailable = errors.New("dispatch targets are unavailable")

// settleTime bounds the storage work for what nevisFIDO has been asked or has
// answered already. It goes on when the caller hangs up: otherwise hanging up
// at the right moment would disable a target.
const settleTime = 5 * time.Second

// NamedSource is a key source with the name that records and events show.
type NamedSource struct {
	Name string
	KeySource
}

// LiveSource is a KeySource that reads what nevisFIDO itself goes by, at the
// time of asking. It may repair a stale record, which an older copy, such as
// an exported file, must not.
type LiveSource interface {
	KeySource
	Live() bool
}

// Directory is what the sidecar knows of dispatch targets: a store, the key
// sources behind it, and the rules by which targets are learned, changed and
// forgotten. Its record of a target is right, or stale, or missing, at every
// moment and wherever the process is killed. Fill the exported fields before
// use; a Directory is safe for concurrent use and must not be copied.
type Directory struct {
	Store     Store
	Sources   []NamedSource // asked in order on a miss
	Namespace string
	Policy    encrypt.Policy
	MaxKeyAge time.Duration    // 0 for any
	Now       func() time.Time // nil means time.Now
	Events    func(Event)      // may be nil; called by whichever goroutine made the change

	keys keyCache
}

// locks are those of the process: across a reload, the old and the new
// configuration handle requests side by side.
var locks keylock.Table

// Lock keeps other modifications and deletions of a target within this process
// waiting, so that nevisFIDO sees them in the order in which they are recorded.
// Hold it from before BeginModify or BeginDelete until after Finish.
func (d *Directory) Lock(ctx context.Context, id string) (unlock func(), err error) {
	unlock, err = locks.Lock(ctx, d.ref(id).Hash())
	if err != nil {
		return nil, fmt.Errorf("%w: waiting for another change of the target: %w", ErrUnavailable, err)
	}
	return unlock, nil
}

// Find returns a target: from the store, or else from the first key source
// that has it. A stale record is repaired from a LiveSource if there is one,
// and returned as it is otherwise; look at its State. The error is ErrNotFound
// only where the store and every source say so, and ErrUnavailable otherwise.
func (d *Directory) Find(ctx context.Context, id string) (*Target, error) {
	ref := d.ref(id)
	t, err := d.Store.Load(ctx, ref)
	switch {
	case errors.Is(err, ErrNotFound):
		return d.ask(ctx, ref, nil)
	case err != nil:
		return nil, unavailable("loading target", err)
	}
	if err := t.check(ref); err != nil {
		return nil, unavailable("loading target", err)
	}
	if t.State != Stale || t.inFlight(d.now()) {
		return t, nil
	}
	if repaired, err := d.ask(ctx, ref, t); err == nil {
		return repaired, nil
	}
	return t, nil
}

// ask looks for a target in the key sources and stores what they bring, if the
// record is still the known one then.
func (d *Directory) ask(ctx context.Context, ref Ref, known *Target) (*Target, error) {
	for _, s := range d.Sources {
		if live, ok := s.KeySource.(LiveSource); known != nil && (!ok || !live.Live()) {
			continue
		}
		t, err := s.Find(ctx, ref)
		switch {
		case err == nil:
			return d.keep(ctx, ref, known, t, s.Name)
		case !errors.Is(err, ErrNotFound):
			// The next source may hold an older key than this one.
			return nil, unavailable("asking key source "+s.Name, err)
		}
	}
	return nil, ErrNotFound
}

func (d *Directory) keep(ctx context.Context, ref Ref, known, found *Target, source string) (*Target, error) {
	now := d.now()
	t := *found
	t.Source, t.Updated, t.State = source, now, Active
	t.Marks, t.Doubt, t.Settled = nil, nil, ""
	if t.Created.IsZero() {
		t.Created = now
	}
	events := append(d.takeKeys(&t, found.EncryptionKey, found.SignatureKey), t.event(EventLearned, source, ""))
	if err := t.check(ref); err != nil {
		return nil, unavailable("asking key source "+source, err)
	}
	var result *Target
	stored := false
	err := d.Store.Update(ctx, ref, func(current *Target) (*Target, error) {
		result, stored = current, equal(current, known, ref)
		if stored {
			result = &t
		}
		return result, nil
	})
	switch {
	case err != nil:
		return nil, unavailable("storing target", err)
	case result == nil:
		return nil, ErrNotFound
	case stored:
		d.emit(events)
	}
	return result, nil
}

func (d *Directory) ref(id string) Ref { return Ref{Namespace: d.Namespace, ID: id} }

func (d *Directory) now() time.Time {
	if d.Now == nil {
		return time.Now().UTC()
	}
	return d.Now().UTC()
}

// change updates one record and sends the events that the change returns.
func (d *Directory) change(ctx context.Context, ref Ref, doing string, change func(*Target) (*Target, []Event)) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	var events []Event
	err := d.Store.Update(ctx, ref, func(current *Target) (next *Target, _ error) {
		next, events = change(current)
		return next, nil
	})
	if err != nil {
		return unavailable(doing, err)
	}
	d.emit(events)
	return nil
}

func unavailable(doing string, err error) error {
	if errors.Is(err, ErrNotFound) { // never to be taken for an answer
		err = errors.New(err.Error())
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, doing, err)
}

func equal(a, b *Target, ref Ref) bool {
	if a == nil || b == nil {
		return a == b
	}
	textA, errA := Encode(a, ref)
	textB, errB := Encode(b, ref)
	return errA == nil && errB == nil && bytes.Equal(textA, textB)
}

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
// answered already, beside the context's own deadline. It goes on when the
// caller hangs up: otherwise hanging up at the right moment would disable a
// target.
const settleTime = 5 * time.Second

func settling(ctx context.Context) (context.Context, context.CancelFunc) {
	end := time.Now().Add(settleTime)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(end) {
		end = deadline
	}
	return context.WithDeadline(context.WithoutCancel(ctx), end)
}

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
	Doubts    *Doubts          // may be nil: then a store that fails leaves old records in use
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
// A target that is in doubt is stale, whatever the store holds.
func (d *Directory) Find(ctx context.Context, id string) (*Target, error) {
	ref := d.ref(id)
	t, err := d.load(ctx, ref)
	if err == nil && d.inDoubt(ref, t) {
		if d.recallAll(ctx, ref, t) != nil {
			return d.unsure(ref, t)
		}
		t, err = d.load(ctx, ref)
	}
	switch {
	case err != nil:
		return nil, unavailable("loading target", err)
	case t == nil:
		return d.ask(ctx, ref, nil)
	case t.State != Stale || t.inFlight(d.now()):
		return t, nil
	}
	if repaired, err := d.ask(ctx, ref, t); err == nil {
		return repaired, nil
	}
	return t, nil
}

// load returns the record of a target, nil where there is none.
func (d *Directory) load(ctx context.Context, ref Ref) (*Target, error) {
	t, err := d.Store.Load(ctx, ref)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return t, t.check(ref)
}

// unsure returns a record with what is in doubt but cannot be written down.
// The key sources are not asked: what they bring could not be stored.
func (d *Directory) unsure(ref Ref, t *Target) (*Target, error) {
	if t, _ = d.doubtful(ref, t, d.Doubts.of(subject{Ref: ref})); t == nil {
		return nil, ErrNotFound
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
	ctx, cancel := settling(ctx)
	defer cancel()
	return d.update(ctx, ref, doing, false, change)
}

// heal is change for what is certain whatever the record says: one that cannot
// be read is none.
func (d *Directory) heal(ctx context.Context, ref Ref, doing, source string, change func(*Target) (*Target, []Event)) error {
	ctx, cancel := settling(ctx)
	defer cancel()
	err := d.update(ctx, ref, doing, false, change)
	if !isUnreadable(err) {
		return err
	}
	return d.update(ctx, ref, doing, true, func(current *Target) (*Target, []Event) {
		next, events := change(current)
		if current == nil {
			events = append([]Event{{Name: EventDropped, Ref: ref, Source: source, Reason: whyDamaged}}, events...)
		}
		return next, events
	})
}

// update is change within the time of the context. What was in doubt of the
// target becomes part of the record that the change gets, and is in doubt no
// more when that is stored. With heal, an unreadable record is none.
func (d *Directory) update(ctx context.Context, ref Ref, doing string, heal bool, change func(*Target) (*Target, []Event)) error {
	known, release, err := d.Doubts.hold(ctx, ref)
	if err != nil {
		return unavailable(doing, err)
	}
	defer release()
	update := d.Store.Update
	if healer, ok := d.Store.(Healer); heal && ok {
		update = healer.Heal
	}
	var events []Event
	err = update(ctx, ref, func(current *Target) (*Target, error) {
		current, doubts := d.doubtful(ref, current, known)
		next, done := change(current)
		if next == nil || next.State == Active { // the doubt is over
			doubts = nil
		}
		events = append(doubts, done...)
		return next, nil
	})
	if err != nil {
		return unavailable(doing, err)
	}
	d.Doubts.written(subject{Ref: ref}, known.number)
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

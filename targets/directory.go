package targets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
)

// ErrUnavailable reports that nothing can be said about a target now: the
// store or a key source failed, or the record is damaged. The target may exist
// and have a key, so nothing may be sent in clear.
var ErrUnavailable = errors.New("dispatch targets are unavailable")

// Directory is what the sidecar knows of dispatch targets: a store, the key
// sources behind it, and the rules by which targets are learned, changed and
// forgotten. Fill the exported fields before use; a Directory is safe for
// concurrent use and must not be copied.
type Directory struct {
	Store     Store
	Sources   []NamedSource // asked in order on a miss
	Namespace string
	Policy    encrypt.Policy
	Unsynced  *Unsynced        // must be set
	MaxKeyAge time.Duration    // 0 for any
	Now       func() time.Time // nil means time.Now

	// Events may be nil. It is called by whichever goroutine made the change, with
	// the context of the call.
	Events func(context.Context, Event)

	keys     keyCache
	writable atomic.Int64 // when a trial of the store succeeded, in nanoseconds of Unix time
}

// Find returns a target: from the store, or else from the first key source
// that has it. A stale record is repaired from a LiveSource if there is one,
// and returned as it is otherwise; look at its State. The error is ErrNotFound
// only where the store and every source say so, and ErrUnavailable otherwise.
func (d *Directory) Find(ctx context.Context, id string) (*Target, error) {
	ref := d.ref(id)
	t, err := d.known(ctx, ref)
	switch {
	case err != nil:
		return nil, err
	case t == nil:
		return d.ask(ctx, ref, nil)
	case t.State() != Stale || t.underWay(d.now()):
		return t, nil
	}
	if repaired, err := d.ask(ctx, ref, t); err == nil {
		return repaired, nil
	}
	return t, nil
}

// Known returns what the store and the process know of a target. The key sources
// are not asked. Errors are those of Find.
func (d *Directory) Known(ctx context.Context, id string) (*Target, error) {
	t, err := d.known(ctx, d.ref(id))
	if t == nil && err == nil {
		err = ErrNotFound
	}
	return t, err
}

// known returns what the store and the process know of a target, nil for nothing.
func (d *Directory) known(ctx context.Context, ref Ref) (*Target, error) {
	if d.Unsynced.overflowed() {
		return nil, unavailable("loading target", errors.New("the store failed for too long, and changes of dispatch targets are lost; restart this sidecar when the store works, and have the devices registered that changed meanwhile"))
	}
	unsynced := d.Unsynced.of(ref) // before the store is asked: it may be told just then
	t, err := d.Store.Load(ctx, ref)
	switch {
	case err == nil:
		err = t.check(ref)
	case errors.Is(err, ErrNotFound):
		t, err = nil, nil
	}
	if err != nil && (unsynced == nil || unsynced.record == nil) {
		return nil, unavailable("loading target", err)
	}
	t, _ = d.withUnsynced(ref, t, unsynced)
	return t, nil
}

// ask looks for a target in the key sources and stores what they bring, if the
// record is still the known one then.
func (d *Directory) ask(ctx context.Context, ref Ref, known *Target) (*Target, error) {
	for _, s := range d.Sources {
		if known != nil && !s.live() {
			continue
		}
		t, err := s.find(ctx, ref)
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
	t := *found
	t.Source, t.Updated = source, d.now()
	t.Fence, t.Unsure, t.GoneAddress, t.Blocked = nil, nil, "", time.Time{}
	if known != nil {
		t.GoneAddress = known.GoneAddress
	}
	if t.Created.IsZero() {
		t.Created = t.Updated
	}
	events := append(d.takeKeys(&t, found.EncryptionKey, found.SignatureKey), t.event(EventLearned, source, ""))
	if err := t.check(ref); err != nil {
		return nil, unavailable("asking key source "+source, err)
	}
	var kept *Target
	err := d.update(ctx, ref, "storing target", func(_ Ref, current *Target) (*Target, []Event) {
		if kept = current; !Equal(current, known) {
			return current, nil
		}
		kept = &t
		return &t, events
	})
	switch {
	case err != nil:
		return nil, err
	case kept == nil:
		return nil, ErrNotFound
	}
	return kept, nil
}

// live tells whether some source can repair what is stale.
func (d *Directory) live() bool { return slices.ContainsFunc(d.Sources, NamedSource.live) }

func (d *Directory) ref(id string) Ref { return Ref{Namespace: d.Namespace, ID: id} }

func (d *Directory) now() time.Time {
	if d.Now == nil {
		return time.Now().UTC()
	}
	return d.Now().UTC()
}

// step is what becomes of a record, nil for none, and what is told of it.
type step func(ref Ref, current *Target) (*Target, []Event)

// update takes one step: it edits a record with all that the process knows of
// the target, and sends the events when that is stored.
func (d *Directory) update(ctx context.Context, ref Ref, doing string, take step) error {
	return d.swap(ctx, ref, doing, d.Store.Update, take)
}

// overwrite is update for what is certain whatever the record says: one that
// cannot be read is none.
func (d *Directory) overwrite(ctx context.Context, ref Ref, doing, source string, take step) error {
	err := d.update(ctx, ref, doing, take)
	if !isCorrupt(err) {
		return err
	}
	return d.swap(ctx, ref, doing, d.Store.Heal, func(ref Ref, current *Target) (*Target, []Event) {
		next, events := take(ref, current)
		if current == nil {
			events = append([]Event{{Name: EventDropped, Ref: ref, Source: source, Reason: whyDamaged}}, events...)
		}
		return next, events
	})
}

func (d *Directory) swap(ctx context.Context, ref Ref, doing string, write func(context.Context, Ref, Edit) error, take step) error {
	ctx, cancel := storageTime(ctx)
	defer cancel()
	release, err := d.Unsynced.writing.Lock(ctx, ref.Hash())
	if err != nil {
		return unavailable(doing, err)
	}
	defer release()
	unsynced := d.Unsynced.of(ref)
	var events []Event
	err = write(ctx, ref, func(current *Target) (*Target, error) {
		current, fromUnsynced := d.withUnsynced(ref, current, unsynced)
		next, edited := take(ref, current)
		if next.empty() {
			next = nil
		}
		if next == nil || !next.stale() && !next.Quarantined(next.Address) { // the step has ended that, and there is nothing to tell of it
			fromUnsynced = nil
		}
		events = append(fromUnsynced, edited...)
		return next, nil
	})
	if err != nil {
		d.writable.Store(0)
		return unavailable(doing, err)
	}
	d.Unsynced.written(ref, unsynced)
	d.emit(ctx, events)
	return nil
}

// withUnsynced adds to a record, nil for none, what the store was not told.
func (d *Directory) withUnsynced(ref Ref, t *Target, w *unsynced) (*Target, []Event) {
	if w == nil {
		return t, nil
	}
	var events []Event
	switch {
	case w.record == nil:
	case t != nil && t.Updated.After(w.record.Updated): // by another process, which may know more or less
		t, events = d.markStale(ref, t, allMembers(), w.record.Source, whyUnrecorded)
	default:
		created := *w.record
		created.Blocked = t.blocked()
		t = &created
	}
	if t != nil && w.gone == t.Address && t.quarantine() {
		t.Updated = d.now()
		events = append(events, t.event(EventExpired, sourceDispatch, whyUnrecorded))
	}
	if w.change != "" {
		next, stale := d.markStale(ref, t, allMembers(), w.change, whyUnrecorded)
		return next, append(events, stale...)
	}
	return t, events
}

// maxStorageTime bounds the storage work for what nevisFIDO has been asked or has
// answered already, besides the context's own deadline. It goes on when the
// caller hangs up: otherwise hanging up at the right moment would disable a
// target.
const maxStorageTime = 5 * time.Second

func storageTime(ctx context.Context) (context.Context, context.CancelFunc) {
	end := time.Now().Add(maxStorageTime)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(end) {
		end = deadline
	}
	return context.WithDeadline(context.WithoutCancel(ctx), end)
}

// markStale makes members of a record unsure. Where nothing is known of the target,
// that is worth a record only with key sources, so that they do not bring back
// what was before.
func (d *Directory) markStale(ref Ref, t *Target, members []string, source, why string) (*Target, []Event) {
	if t.empty() && len(d.Sources) == 0 {
		return t, nil
	}
	if t == nil {
		t = d.blankRecord(ref)
	}
	before := len(t.Unsure)
	t.distrust(members)
	t.Updated = d.now() // also where all was unsure: a key source that was asked before is not believed (keep)
	if len(t.Unsure) == before {
		return t, nil
	}
	return t, []Event{t.event(EventStale, source, why)}
}

// giveUp is what remains of a record, nil for none, that says nothing right any
// more: that the target is unsure, and blocked if it was.
func (d *Directory) giveUp(ref Ref, t *Target, source, why string) *Target {
	var left *Target
	if since := t.blocked(); !since.IsZero() {
		left = d.blankRecord(ref)
		left.Blocked = since
	}
	left, _ = d.markStale(ref, left, allMembers(), source, why)
	return left
}

func (d *Directory) blankRecord(ref Ref) *Target {
	return &Target{Namespace: ref.Namespace, ID: ref.ID, Source: SourceModify, Updated: d.now()}
}

func unavailable(doing string, err error) error {
	if errors.Is(err, ErrNotFound) { // never to be taken for an answer
		err = errors.New(err.Error())
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, doing, err)
}

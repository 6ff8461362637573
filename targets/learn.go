package targets

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// BeginLearn tells whether a target can be kept that nevisFIDO is about to
// make. On ErrUnavailable the request must not be forwarded: the store does not
// take the target, and no live key source could bring it later.
func (d *Directory) BeginLearn(ctx context.Context) error {
	switch {
	case d.Unsynced.full():
		return unavailable("preparing for a new target", errors.New("the store has been failing for too long, and too many targets wait for it"))
	case d.live():
		return nil
	}
	return d.Writable(ctx)
}

// tryInterval is how often the store is written at most to try it.
const tryInterval = time.Second

// Writable tells whether the store can be written: it writes something and takes
// it away again, at most once a second while it works. The error is
// ErrUnavailable.
func (d *Directory) Writable(ctx context.Context) error {
	if time.Since(time.Unix(0, d.writable.Load())) < tryInterval {
		return nil
	}
	const doing = "trying whether the store can be written"
	ref := d.ref("oob-dispatch-trial")
	err := d.update(ctx, ref, doing, func(ref Ref, _ *Target) (*Target, []Event) {
		trial := d.blankRecord(ref)
		trial.distrust(allMembers())
		return trial, nil
	})
	if err == nil {
		err = d.update(ctx, ref, doing, func(Ref, *Target) (*Target, []Event) { return nil, nil })
	}
	if err == nil {
		d.writable.Store(time.Now().UnixNano())
	}
	return err
}

// Learn records a target that nevisFIDO has created; source is SourceCreate or
// SourceRegistration. It replaces whatever was known of the id, because
// nevisFIDO accepted it, a record that cannot be read as well; another key is
// an EventKeyChanged. A key that the policy refuses is not stored, the target
// is. After ErrUnavailable the target is used within this process, and stored
// when the store takes it.
func (d *Directory) Learn(ctx context.Context, desc *nevisfido.TargetDescription, created nevisfido.CreatedTarget, source string) error {
	now := d.now()
	ref := d.ref(created.ID)
	t := &Target{
		Namespace: ref.Namespace, ID: ref.ID, ExtID: created.ExtID,
		Username: desc.Username, DeviceID: desc.DeviceID, Name: desc.Name,
		Address: desc.Target, Dispatcher: desc.Dispatcher,
		Source: source, Created: now, Updated: now,
	}
	learned := append(d.takeKeys(t, desc.EncryptionKey, desc.SignatureKey), t.event(EventLearned, source, ""))
	if _, err := Encode(t, ref); err != nil {
		return errors.Join(err, d.invalidate(ctx, ref, source, whyTooLarge))
	}
	events := learned
	err := d.overwrite(ctx, ref, "storing target", source, func(_ Ref, current *Target) (*Target, []Event) {
		events = slices.Clone(learned)
		if current != nil && current.Thumbprint != "" && current.Thumbprint != t.Thumbprint {
			events = append(events, t.event(EventKeyChanged, source, ""))
		}
		next := *t
		next.Blocked = current.blocked()
		return &next, events
	})
	if err != nil {
		d.Unsynced.create(t)
		d.emit(ctx, events)
	}
	return err
}

// Drop gives up a record because nevisFIDO does not know the target.
func (d *Directory) Drop(ctx context.Context, id string) error {
	return d.update(ctx, d.ref(id), "dropping target", func(_ Ref, current *Target) (*Target, []Event) {
		if current == nil {
			return nil, nil
		}
		return nil, []Event{current.event(EventDropped, sourceDispatch, whyUnknown)}
	})
}

// Invalidate gives up a record because nevisFIDO has made the target anew, in a
// call that we could not read. After ErrUnavailable it is stale within this
// process.
func (d *Directory) Invalidate(ctx context.Context, id, source string) error {
	return d.invalidate(ctx, d.ref(id), source, whyUnreadable)
}

func (d *Directory) invalidate(ctx context.Context, ref Ref, source, why string) error {
	err := d.overwrite(ctx, ref, "dropping target", source, func(ref Ref, current *Target) (*Target, []Event) {
		return d.giveUp(ref, current, source, why), []Event{{Name: EventDropped, Ref: ref, User: current.user(), Source: source, Reason: why}}
	})
	if err != nil {
		d.Unsynced.keepChange(ref, source)
	}
	return err
}

// Why the id of a target that nevisFIDO made is not known.
const (
	WhyNoID       = "no_id"
	WhySeveralIDs = "several_ids"
	WhyNoAnswer   = "unreadable_answer"
)

// Unidentified takes in that nevisFIDO has made a target of which the answer
// does not tell the id, so that it stays unknown.
func (d *Directory) Unidentified(ctx context.Context, source, why string) {
	d.emit(ctx, []Event{{Name: EventUnidentified, Ref: d.ref(""), Source: source, Reason: why}})
}

// Expire puts the address of a target in quarantine that the channel reported as
// gone: no dispatch to it until the target is modified. Give it the target that
// was dispatched to. Nothing happens if its address has changed since. After
// ErrUnavailable the address is in quarantine within this process.
func (d *Directory) Expire(ctx context.Context, t *Target) error {
	err := d.update(ctx, t.Ref(), "expiring target", func(_ Ref, current *Target) (*Target, []Event) {
		if current == nil || current.Address != t.Address || !current.quarantine() {
			return current, nil
		}
		current.Updated = d.now()
		return current, []Event{current.event(EventExpired, sourceDispatch, "")}
	})
	if err != nil {
		d.Unsynced.expire(t.Ref(), t.Address)
	}
	return err
}

package targets

import (
	"context"
	"errors"
	"slices"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Where targets are learned from and changed by, as records and events say it.
const (
	SourceCreate       = "create"
	SourceRegistration = "registration"
	SourceModify       = "modify"
	sourceDelete       = "delete"
	sourceDevice       = "device"
	sourceDispatch     = "dispatch"
)

// Why records are dropped.
const (
	whyUnknown    = "unknown" // to nevisFIDO
	whyTooLarge   = "too_large"
	whyUnreadable = "unreadable" // the call, to us
	whyDamaged    = "damaged"
)

// Learn records a target that nevisFIDO has created; source is SourceCreate or
// SourceRegistration. It replaces whatever was known of the id, because
// nevisFIDO accepted it, a record that cannot be read as well; another key is
// an EventKeyChanged. A key that the policy refuses is not stored, the target
// is. After an error the target is unknown, or in doubt if it was known.
func (d *Directory) Learn(ctx context.Context, desc *nevisfido.TargetDescription, created nevisfido.CreatedTarget, source string) error {
	now := d.now()
	ref := d.ref(created.ID)
	t := &Target{
		Namespace: ref.Namespace, ID: ref.ID, ExtID: created.ExtID,
		Username: desc.Username, DeviceID: desc.DeviceID, Name: desc.Name,
		Address: desc.Target, Dispatcher: desc.Dispatcher,
		Source: source, Created: now, Updated: now, State: Active,
	}
	refused := d.takeKeys(t, desc.EncryptionKey, desc.SignatureKey)
	if _, err := Encode(t, ref); err != nil {
		return errors.Join(err, d.giveUp(ctx, ref, source, whyTooLarge))
	}
	_ = d.recallDevice(ctx, t.DeviceID) // lest it is taken for the target's state before
	err := d.heal(ctx, ref, "storing target", source, func(current *Target) (*Target, []Event) {
		events := append(slices.Clone(refused), t.event(EventLearned, source, ""))
		if current != nil && current.Thumbprint != "" && current.Thumbprint != t.Thumbprint {
			events = append(events, t.event(EventKeyChanged, source, ""))
		}
		return t, events
	})
	if err != nil {
		d.Doubts.addChange(subject{Ref: ref}, source, now)
	}
	return err
}

// Drop gives up a record because nevisFIDO does not know the target.
func (d *Directory) Drop(ctx context.Context, id string) error {
	return d.change(ctx, d.ref(id), "dropping target", func(current *Target) (*Target, []Event) {
		if current == nil {
			return nil, nil
		}
		return nil, []Event{current.event(EventDropped, sourceDispatch, whyUnknown)}
	})
}

// Distrust gives up a record because nevisFIDO has made the target anew, in a
// call that we could not read. After an error it is in doubt.
func (d *Directory) Distrust(ctx context.Context, id, source string) error {
	return d.giveUp(ctx, d.ref(id), source, whyUnreadable)
}

func (d *Directory) giveUp(ctx context.Context, ref Ref, source, why string) error {
	err := d.heal(ctx, ref, "dropping target", source, func(*Target) (*Target, []Event) {
		return d.nothing(ref), []Event{{Name: EventDropped, Ref: ref, Source: source, Reason: why}}
	})
	if err != nil {
		d.Doubts.addChange(subject{Ref: ref}, source, d.now())
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
func (d *Directory) Unidentified(source, why string) {
	d.emit([]Event{{Name: EventUnidentified, Ref: d.ref(""), Source: source, Reason: why}})
}

// nothing is the record of a target of which nothing is certain. With key
// sources something has to stay in the store, lest they bring back what held
// before.
func (d *Directory) nothing(ref Ref) *Target {
	if len(d.Sources) == 0 {
		return nil
	}
	t := d.placeholder(ref)
	t.Doubt = allMembers()
	return t.settle()
}

func (d *Directory) placeholder(ref Ref) *Target {
	return &Target{Namespace: ref.Namespace, ID: ref.ID, Source: SourceModify, Updated: d.now(), State: Active}
}

// Expire puts a target in quarantine whose channel reported the address as
// gone: no dispatch until it is modified. Give it the target that was
// dispatched to. Nothing happens if its address has changed since. After an
// error the target is in quarantine within this process.
func (d *Directory) Expire(ctx context.Context, t *Target) error {
	err := d.change(ctx, t.Ref(), "expiring target", func(current *Target) (*Target, []Event) {
		if current == nil || current.Address != t.Address || !current.expire() {
			return current, nil
		}
		current.Updated = d.now()
		return current, []Event{current.event(EventExpired, sourceDispatch, "")}
	})
	if err != nil {
		d.Doubts.addGone(t.Ref(), t.Address, d.now())
	}
	return err
}

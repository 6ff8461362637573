package targets

import (
	"context"
	"errors"
	"fmt"
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

// WhyUnknown is the reason to Drop a target that nevisFIDO does not know.
const WhyUnknown = "unknown"

const whyTooLarge = "too_large"

// Learn records a target that nevisFIDO has created; source is SourceCreate or
// SourceRegistration. It replaces whatever was known of the id, because
// nevisFIDO accepted it; another key is an EventKeyChanged. A key that the
// policy refuses is not stored, the target is. On ErrUnavailable the target is
// unknown to us.
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
		return errors.Join(err, d.Drop(ctx, ref.ID, whyTooLarge))
	}
	return d.change(ctx, ref, "storing target", func(current *Target) (*Target, []Event) {
		events := append(slices.Clone(refused), t.event(EventLearned, source, ""))
		if current != nil && current.Thumbprint != "" && current.Thumbprint != t.Thumbprint {
			events = append(events, t.event(EventKeyChanged, source, ""))
		}
		return t, events
	})
}

// Drop gives up a record that cannot be trusted any more: nevisFIDO does not
// know the target (WhyUnknown), or has accepted a change that we could not
// read (any other reason, a fixed word).
func (d *Directory) Drop(ctx context.Context, id, why string) error {
	ref := d.ref(id)
	return d.change(ctx, ref, "dropping target", func(current *Target) (*Target, []Event) {
		if why == WhyUnknown {
			if current == nil {
				return nil, nil
			}
			return nil, []Event{current.event(EventDropped, sourceDispatch, why)}
		}
		return d.nothing(ref), []Event{{Name: EventDropped, Ref: ref, Source: SourceModify, Reason: why}}
	})
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
// dispatched to. Nothing happens if its address has changed since.
func (d *Directory) Expire(ctx context.Context, t *Target) error {
	return d.change(ctx, t.Ref(), "expiring target", func(current *Target) (*Target, []Event) {
		switch {
		case current == nil || current.Address != t.Address || current.State == Expired || current.Settled == Expired:
			return current, nil
		case current.State == Stale: // stays so; the quarantine begins when it is settled
			current.Settled = Expired
		default:
			current.State = Expired
		}
		current.Updated = d.now()
		return current, []Event{current.event(EventExpired, sourceDispatch, "")}
	})
}

// DeviceChanged takes in that nevisFIDO's device service has deleted a device,
// or modified it in a way that may concern its targets: they are forgotten, or
// stale until they are registered again or repaired from a LiveSource.
func (d *Directory) DeviceChanged(ctx context.Context, deviceID string, deleted bool) error {
	if deviceID == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	ids, err := d.Store.OfDevice(ctx, d.Namespace, deviceID)
	if err != nil {
		return unavailable("looking up the device's targets", err)
	}
	var failed []error
	for _, id := range ids {
		err := d.change(ctx, d.ref(id), "changing a target of the device", func(current *Target) (*Target, []Event) {
			if current == nil || current.DeviceID != deviceID {
				return current, nil
			}
			if deleted {
				return nil, []Event{current.event(EventForgotten, sourceDevice, "")}
			}
			current.addDoubt(allMembers())
			current.Updated = d.now()
			return current.settle(), []Event{current.event(EventStale, sourceDevice, "device_modified")}
		})
		if err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d targets: %w", len(failed), len(ids), errors.Join(failed...))
	}
	return nil
}

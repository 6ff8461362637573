package targets

import (
	"context"
	"slices"
)

// recall writes into the store what is in doubt of a target.
func (d *Directory) recall(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	return d.update(ctx, d.ref(id), "recording that the target is in doubt", false, func(current *Target) (*Target, []Event) {
		return current, nil
	})
}

// recallDevice writes into the store that the targets of a device are in doubt,
// if they are.
func (d *Directory) recallDevice(ctx context.Context, deviceID string) error {
	device := deviceOf(d.Namespace, deviceID)
	number := d.Doubts.of(device).number
	if number == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	ids, err := d.Store.OfDevice(ctx, d.Namespace, deviceID)
	if err != nil {
		return unavailable("looking up the device's targets", err)
	}
	for _, id := range ids {
		if err := d.recall(ctx, id); err != nil && !isUnreadable(err) {
			return err
		}
	}
	d.Doubts.written(device, number)
	return nil
}

// recallAll writes down what is in doubt of a target and of its device.
func (d *Directory) recallAll(ctx context.Context, ref Ref, t *Target) error {
	if t != nil {
		if err := d.recallDevice(ctx, t.DeviceID); err != nil {
			return err
		}
	}
	return d.recall(ctx, ref.ID)
}

// inDoubt tells whether the process knows more of a target than its record,
// nil for none, does.
func (d *Directory) inDoubt(ref Ref, t *Target) bool {
	return d.Doubts.of(subject{Ref: ref}).number != 0 || d.Doubts.lost(t) || d.deviceInDoubt(t)
}

func (d *Directory) deviceInDoubt(t *Target) bool {
	return t != nil && t.DeviceID != "" && d.Doubts.of(deviceOf(t.Namespace, t.DeviceID)).number != 0
}

// doubtful adds to a record, nil for none, what is in doubt.
func (d *Directory) doubtful(ref Ref, t *Target, known doubt) (*Target, []Event) {
	var events []Event
	if t != nil && known.gone == addressHash(t.Address) && t.expire() {
		t.Updated = d.now()
		events = append(events, t.event(EventExpired, sourceDispatch, whyUnrecorded))
	}
	source := known.source
	switch {
	case known.inDoubt():
	case d.deviceInDoubt(t):
		source = sourceDevice
	case d.Doubts.lost(t):
		source = SourceModify
	default:
		return t, events
	}
	if t == nil {
		return d.nothing(ref), nil
	}
	for i := range t.Marks { // nobody knows which nevisFIDO made first
		t.Marks[i].Shared = true
	}
	if t.State == Stale && !slices.ContainsFunc(allMembers(), func(member string) bool { return !slices.Contains(t.Doubt, member) }) {
		return t, events // known already
	}
	t.addDoubt(allMembers())
	t.Updated = d.now()
	return t.settle(), append(events, t.event(EventStale, source, whyUnrecorded))
}

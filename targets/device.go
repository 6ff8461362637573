package targets

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
)

// PendingDevice is a change of a device that nevisFIDO's device service is
// being asked for. It ends with Finish. It is for one goroutine.
type PendingDevice struct {
	d       *Directory
	device  string
	id      string // of the marks
	deletes bool
	marked  []string // ids of targets

	answered func(outcome) // nil where there are marks
	done     bool
}

// LockDevice is Lock for all targets of a device.
func (d *Directory) LockDevice(ctx context.Context, deviceID string) (unlock func(), err error) {
	ids, err := d.ofDevice(ctx, deviceID)
	if err != nil {
		return nil, err
	}
	var unlocks []func()
	unlock = func() {
		for _, f := range unlocks {
			f()
		}
	}
	for _, id := range ids { // in order, so that no two wait for each other
		one, err := d.Lock(ctx, id)
		if err != nil {
			unlock()
			return nil, err
		}
		unlocks = append(unlocks, one)
	}
	return unlock, nil
}

// ofDevice returns the ids of a device's targets, sorted.
func (d *Directory) ofDevice(ctx context.Context, deviceID string) ([]string, error) {
	if deviceID == "" {
		return nil, nil
	}
	ctx, cancel := settling(ctx)
	defer cancel()
	ids, err := d.Store.OfDevice(ctx, d.Namespace, deviceID)
	if err != nil {
		return nil, unavailable("looking up the device's targets", err)
	}
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// BeginDevice prepares for a change of a device as BeginModify does for one of
// a target: when it returns, the device's targets are durably stale. On
// ErrUnavailable the request must not be forwarded. Records that cannot be read
// are of no use here anyhow; they are dropped if nevisFIDO makes the change.
func (d *Directory) BeginDevice(ctx context.Context, deviceID string, deletes bool) (*PendingDevice, error) {
	p := &PendingDevice{d: d, device: deviceID, id: rand.Text(), deletes: deletes}
	if err := p.markAll(ctx); err != nil {
		// What was marked and cannot be restored stays stale.
		return nil, errors.Join(err, p.Finish(context.WithoutCancel(ctx), 400))
	}
	return p, nil
}

// UnrecordedDevice is BeginDevice for a request that is forwarded although the
// store fails: the targets are in doubt within this process.
func (d *Directory) UnrecordedDevice(deviceID string, deletes bool) *PendingDevice {
	answered := d.Doubts.ask(deviceOf(d.Namespace, deviceID), sourceDevice, d.now())
	return &PendingDevice{d: d, device: deviceID, deletes: deletes, answered: answered}
}

func (p *PendingDevice) markAll(ctx context.Context) error {
	ids, err := p.d.ofDevice(ctx, p.device)
	if err != nil {
		return err
	}
	for _, id := range ids {
		p.marked = append(p.marked, id) // perhaps, even if the store reports an error
		err := p.d.change(ctx, p.d.ref(id), "marking a target of the device before it changes", func(current *Target) (*Target, []Event) {
			if current == nil || current.DeviceID != p.device {
				return current, nil
			}
			current.mark(Mark{ID: p.id, At: p.d.now(), Members: p.members()})
			return current.settle(), nil
		})
		if err != nil && !isUnreadable(err) {
			return err
		}
	}
	return nil
}

func (p *PendingDevice) members() []string {
	if p.deletes {
		return []string{memberExistence}
	}
	return allMembers()
}

// Finish records how it ended: status is that of nevisFIDO's answer, 0 where
// none came. On 2xx the targets are forgotten, or stale until they are
// registered again or repaired from a LiveSource; on 4xx they are as they were;
// on any other status they stay stale. On ErrUnavailable those of which it
// could not be recorded stay stale. Later calls do nothing.
func (p *PendingDevice) Finish(ctx context.Context, status int) error {
	if p.done {
		return nil
	}
	p.done = true
	o := outcomeOf(status)
	if p.answered != nil {
		p.answered(o)
		return nil
	}
	var failed []error
	ids := p.marked
	if o == accepted { // with those that came meanwhile
		now, err := p.d.ofDevice(ctx, p.device)
		if err != nil {
			p.d.Doubts.addChange(deviceOf(p.d.Namespace, p.device), sourceDevice, p.d.now())
			failed = append(failed, err)
		}
		ids = append(now, ids...)
		slices.Sort(ids)
		ids = slices.Compact(ids)
	}
	for _, id := range ids {
		if err := p.finish(ctx, id, o); err != nil && !isUnreadable(err) {
			failed = append(failed, err)
			if !slices.Contains(p.marked, id) {
				p.d.Doubts.addChange(subject{Ref: p.d.ref(id)}, sourceDevice, p.d.now())
			}
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d targets: %w", len(failed), len(ids), errors.Join(failed...))
	}
	return nil
}

func (p *PendingDevice) finish(ctx context.Context, id string, o outcome) error {
	const doing = "changing a target of the device"
	record := func(current *Target) (*Target, []Event) { return p.record(current, o) }
	err := p.d.change(ctx, p.d.ref(id), doing, record)
	if o != accepted || !isUnreadable(err) {
		return err
	}
	// Another process may be able to read it.
	return p.d.heal(ctx, p.d.ref(id), doing, sourceDevice, func(current *Target) (*Target, []Event) {
		if current == nil && !p.deletes {
			return p.d.nothing(p.d.ref(id)), nil
		}
		return record(current)
	})
}

// record brings the record of a target in line with the outcome.
func (p *PendingDevice) record(current *Target, o outcome) (*Target, []Event) {
	current.unmark(p.id)
	switch {
	case current == nil:
		return nil, nil
	case o == refused, current.DeviceID != p.device:
		return current.settle(), nil
	case o == accepted && p.deletes:
		return nil, []Event{current.event(EventForgotten, sourceDevice, "")}
	}
	why := "unanswered"
	if o == accepted {
		why = "device_modified"
	}
	current.addDoubt(p.members())
	current.Updated = p.d.now()
	return current.settle(), []Event{current.event(EventStale, sourceDevice, why)}
}

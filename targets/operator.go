package targets

import (
	"context"
	"time"
)

// SourceOperator is that of events about what an operator did to a target.
const SourceOperator = "operator"

// Block has no message go to a target, over any dispatcher, until Unblock. No key
// source, modification or registration lifts it; a deletion at nevisFIDO takes the
// record and with it the block, as ids are not used again. A target that only a
// key source knows is learned first. It tells whether the target was not blocked
// before. The error is ErrNotFound where nobody knows the target, and
// ErrUnavailable otherwise.
func (d *Directory) Block(ctx context.Context, id string) (changed bool, err error) {
	if _, err := d.Find(ctx, id); err != nil {
		return false, err
	}
	return d.setBlocked(ctx, id, "blocking the target", d.now(), EventBlocked)
}

// Unblock takes back Block. It tells whether the target was blocked. Errors are
// those of Block.
func (d *Directory) Unblock(ctx context.Context, id string) (changed bool, err error) {
	return d.setBlocked(ctx, id, "unblocking the target", time.Time{}, EventUnblocked)
}

func (d *Directory) setBlocked(ctx context.Context, id, doing string, since time.Time, event EventName) (changed bool, err error) {
	return d.operate(ctx, id, doing, func(_ Ref, current *Target) (*Target, []Event) {
		if current.Blocked.IsZero() == since.IsZero() {
			return current, nil
		}
		current.Blocked, current.Updated = since, d.now()
		return current, []Event{current.event(event, SourceOperator, "")}
	})
}

// Forget deletes what is known of a target; nevisFIDO keeps its own. Errors are
// those of Block.
func (d *Directory) Forget(ctx context.Context, id string) error {
	_, err := d.operate(ctx, id, "forgetting the target", func(ref Ref, current *Target) (*Target, []Event) {
		return nil, []Event{{Name: EventForgotten, Ref: ref, User: current.user(), Source: SourceOperator}}
	})
	return err
}

// operate takes a step with a target that is known, and tells whether something
// happened.
func (d *Directory) operate(ctx context.Context, id, doing string, take step) (changed bool, err error) {
	found := false
	err = d.update(ctx, d.ref(id), doing, func(ref Ref, current *Target) (*Target, []Event) {
		changed, found = false, current != nil
		if !found {
			return nil, nil
		}
		next, events := take(ref, current)
		changed = events != nil
		return next, events
	})
	if err == nil && !found {
		err = ErrNotFound
	}
	return changed && err == nil, err
}

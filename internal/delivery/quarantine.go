package delivery

import (
	"context"
	"log/slog"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// Quarantined returns a failure where a dispatch would use an address that is
// gone, so that nevisFIDO need not be asked. A composite may have members with
// another address.
func (c *Courier) Quarantined(d Dispatch) *dispatchers.Error {
	if d.Target == nil || d.Target.Expired == "" || d.Channel.Composite != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(d.HTTP.Context(), c.Deadline)
	defer cancel()
	to, failure := c.newRun(d, "").recipient(ctx, d.Channel)
	if failure != nil {
		return nil // the delivery finds it again, and it may be over by then
	}
	return quarantined(d.Target, to)
}

// quarantined returns a failure where an address of the target is gone.
func quarantined(target *targets.Target, to recipient) *dispatchers.Error {
	if target.Quarantined(to.address) || to.own && target.Quarantined(target.Address) {
		return dispatchers.Fail(dispatchers.Expired, "quarantined", "the address of the dispatch target is gone; it has to be modified first")
	}
	return nil
}

// quarantine keeps further messages from an address that is gone. An address
// that the operator took from elsewhere is not the target's fault.
func (r *run) quarantine(ctx context.Context, c *Channel, to recipient, failure *dispatchers.Error) {
	if failure.Class != dispatchers.Expired || failure.KeepTarget || r.dispatch.Target == nil || to.address == "" || !to.own && to.address != r.dispatch.Target.Address {
		return
	}
	target := slog.String("target", r.courier.Hash.Of("target", r.dispatch.Target.ID))
	if err := r.courier.Targets.Expire(ctx, r.dispatch.Target); err != nil {
		r.log().Warn("quarantining a dispatch target whose address is gone", slog.String("dispatcher", c.Name), target, slog.Any("error", err))
	}
	r.giveNotice(ctx, target)
}

// giveNotice tells the relying party that the address of the target is gone.
// The caller does not wait for that: it learns the same from its answer.
func (r *run) giveNotice(ctx context.Context, target slog.Attr) {
	c := r.courier.OnExpired
	if c == nil {
		return
	}
	release := c.Acquire()
	if release == nil {
		r.log().Warn("too many notices of expired targets are under way; this one is left out", target)
		return
	}
	m := r.baseMessage(ctx, c)
	r.courier.Background(func() {
		defer release()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.courier.Deadline)
		defer cancel()
		if _, failure := c.attempts(ctx, m, func(*dispatchers.Error, time.Duration) {}); failure != nil {
			r.log().Warn("the notice of an expired target was not delivered", target, slog.Any("error", failure))
		}
	})
}

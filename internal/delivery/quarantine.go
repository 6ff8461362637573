package delivery

import (
	"context"
	"log/slog"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// inQuarantine returns a failure where a dispatch would use an address that is
// gone, so that nevisFIDO need not be asked. A composite may have members with
// another address.
func (c *Courier) inQuarantine(ctx context.Context, d Dispatch) *dispatchers.Error {
	if d.Target == nil || d.Target.GoneAddress == "" || d.Channel.Composite != nil {
		return nil
	}
	to, failure := c.newRun(d, "").recipient(ctx, d.Channel) //nolint:contextcheck // its log is for d.HTTP
	if failure != nil {
		return nil //nolint:nilerr // the delivery finds it again, and it may be over by then
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
		r.log.Warn("quarantining a dispatch target whose address is gone", slog.String("dispatcher", c.Name), target, slog.Any("error", err))
	}
	r.giveNotice() //nolint:contextcheck // it does not end with the dispatch
}

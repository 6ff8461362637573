package exchange

import (
	"time"

	"go.uber.org/zap"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

// giveNotice tells the relying party that the address of the target is gone.
// The caller does not wait for that: it hears the same in its answer.
func (d *delivery) giveNotice() {
	c := d.x.OnExpired
	if c == nil {
		return
	}
	target := zap.String("target", TargetHash(d.target.ID))
	release := c.acquire()
	if release == nil {
		d.x.Log.Warn("too many notices of expired targets are under way; this one is left out", target)
		return
	}
	m := d.envelopeless(c)
	d.x.background.start(func() {
		defer release()
		ctx, cancel := d.x.detached(d.r)
		defer cancel()
		if _, err := c.send(ctx, m, func(*dispatchers.Error, time.Duration) {}); err != nil {
			d.x.Log.Warn("the notice of an expired target was not delivered", target, zap.Error(err))
		}
	})
}

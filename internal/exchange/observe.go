package exchange

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"go.uber.org/zap"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Observed is the result in the record of an exchange that was only watched.
const Observed nevisfido.DispatchResult = "observed"

// observe lets a dispatch request through untouched and reports what would
// have become of it.
func (x *Exchange) observe(w http.ResponseWriter, r *http.Request, op nevisfido.Operation, next Next) error {
	body, err := readBody(w, r, x.MaxBody)
	switch {
	case errors.Is(err, errTooLarge):
		x.Log.Info("observed a dispatch request that would have been refused", zap.Error(err))
		return next(w, r)
	case err != nil:
		return statusError(http.StatusBadRequest, "reading the dispatch request: %w", err)
	}
	if err := next(w, withBody(r, body)); err != nil {
		return err
	}
	request, err := nevisfido.ParseDispatchRequest(body)
	if err != nil || !plainJSON(r.Header) {
		x.Log.Info("observed a dispatch request that would have been refused: it is not plain JSON", zap.Error(err))
		return nil
	}
	// The caller has its answer and may be gone.
	d := x.newDelivery(r.WithContext(context.WithoutCancel(r.Context())), op, request)
	failure := d.choose()
	if failure == nil && d.channel == nil {
		return nil
	}
	if failure == nil {
		failure = d.foresee()
	}
	d.report(failure)
	return nil
}

// report tells what an observed exchange would have done.
func (d *delivery) report(failure *dispatchers.Error) {
	record := d.record
	record.Time, record.Operation, record.Result, record.Class = d.start, d.op, Observed, dispatchers.Delivered
	record.Target, record.Delivered = TargetHash(d.request.TargetID), d.receipt.Dispatcher
	if d.channel != nil {
		record.Dispatcher = d.channel.Name
	}
	if failure != nil {
		record.Class, record.Reason = failure.Class, failure.Reason
	}
	d.x.Observer.Exchanged(record)
	d.x.Log.Info("observed a dispatch request", zap.String("operation", string(record.Operation)),
		zap.String("dispatcher", record.Dispatcher), zap.String("target", record.Target),
		zap.String("encryption", record.Encryption), zap.String("thumbprint", record.Thumbprint), zap.String("would_be", string(record.Class)), zap.String("reason", record.Reason))
}

// foresee decides as an exchange does, with a message that nevisFIDO gives in
// clear. Limits are not counted, and what nevisFIDO and third parties answer
// cannot be known.
func (d *delivery) foresee() *dispatchers.Error {
	if failure := d.barred(); failure != nil {
		return failure
	}
	d.answer = new(nevisfido.DispatchAnswer)
	d.message.seal = sync.OnceValues(d.foreseeSeal)
	ctx, cancel := d.x.detached(d.r)
	defer cancel()
	receipt, err := d.foreseeThrough(ctx, d.channel, false)
	if receipt.Rest != nil {
		receipt.Rest()
	}
	if err != nil {
		return failureOf(err)
	}
	d.receipt = receipt
	return nil
}

func (d *delivery) foreseeSeal() (nevisfido.Envelope, *dispatchers.Error) {
	key, failure := d.sealingKey()
	if failure != nil {
		return nevisfido.Envelope{}, failure
	}
	d.noteKey(key)
	return d.message.envelope.Sealed(""), nil
}

// foreseeThrough is through, without anything leaving. The outcome of a
// composite is what it makes of those of its members.
func (d *delivery) foreseeThrough(ctx context.Context, c *Channel, mustSeal bool) (receipt dispatchers.Receipt, err error) {
	defer caught(c.Name, &err)
	if failure := d.serves(c); failure != nil {
		return receipt, failure
	}
	if c.Composite == nil {
		if _, failure := d.compile(ctx, c, mustSeal); failure != nil {
			return receipt, failure
		}
		return dispatchers.Receipt{Dispatcher: c.Name}, nil
	}
	return d.composeWith(ctx, c, d.envelopeless(c), mustSeal, d.foreseeThrough)
}

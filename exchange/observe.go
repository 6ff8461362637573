package exchange

import (
	"errors"
	"net/http"

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
	d := x.newDelivery(r, op, request)
	failure := d.choose()
	if failure == nil && d.channel == nil {
		return nil
	}
	d.report(failure)
	return nil
}

// report tells what an observed exchange would have done, as far as that can
// be known without the token.
func (d *delivery) report(failure *dispatchers.Error) {
	record := Record{
		Time: d.start, Operation: d.op, Result: Observed, Class: dispatchers.Delivered,
		Target: TargetHash(d.request.TargetID),
	}
	if failure == nil {
		failure = d.foresee(&record)
	}
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

// foresee finds out which key would be used, and what would stand in the way.
func (d *delivery) foresee(record *Record) *dispatchers.Error {
	if failure := d.serves(d.channel); failure != nil {
		return failure
	}
	if failure := d.quarantined(); failure != nil {
		return failure
	}
	if d.channel.Composite == nil {
		if _, failure := d.address(d.channel); failure != nil {
			return failure
		}
	}
	record.Encryption = "clear"
	if d.target == nil || d.channel.Encryption == Off {
		return nil
	}
	key, err := d.x.Targets.Key(d.target)
	switch {
	case err != nil && d.channel.Encryption == Preferred && len(d.target.EncryptionKey) == 0:
		return nil
	case err != nil:
		return dispatchers.Fail(dispatchers.NoKey, "no_key", "taking the key of the dispatch target: %w", err)
	}
	record.Encryption, record.Thumbprint = "sealed", key.Thumbprint()
	record.Alg, record.Enc = key.Algorithms()
	return nil
}

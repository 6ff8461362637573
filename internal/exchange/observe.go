package exchange

import (
	"context"
	"errors"
	"net/http"

	"github.com/oob-dispatch/oob-dispatch/internal/tracing"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// observe lets a dispatch request through untouched and reports what would
// have become of it. Limits are not counted, and what nevisFIDO and third
// parties answer cannot be known.
func (x *Exchange) observe(w http.ResponseWriter, r *http.Request, op nevisfido.Operation, next Next) error {
	log := tracing.Log(r.Context(), x.Log)
	body, err := readBody(w, r, x.MaxBody)
	switch {
	case errors.Is(err, errTooLarge):
		log.Info("observed a dispatch request that would have been refused", "error", err)
		return next(w, r)
	case err != nil:
		return statusError(http.StatusBadRequest, "reading the dispatch request: %w", err)
	}
	if err := next(w, withBody(r, body)); err != nil {
		return err
	}
	request, err := nevisfido.ParseDispatchRequest(body)
	if err == nil && !isPlainJSON(r.Header) {
		err = errors.New("its headers announce something else")
	}
	if err != nil {
		log.Info("observed a dispatch request that would have been refused: it is not plain JSON", "error", err)
		return nil
	}
	x.guessed(request.Guesses)
	// The caller has its answer and may be gone.
	r = r.WithContext(context.WithoutCancel(r.Context()))
	ctx, cancel := context.WithTimeout(r.Context(), x.Deadline)
	defer cancel()
	d, failure := x.choose(ctx, r, op, request)
	if failure == nil && d.Channel == nil {
		x.passed(x.whyPassed(request.Dispatcher))
		return nil
	}
	if request.Doubt != nil {
		log.Info("observed a dispatch request that would have been refused: it is not plain JSON", "error", request.Doubt)
		return nil
	}
	e := conclusion{failure: failure, result: Observed}
	if failure == nil {
		e.delivery = x.courier.Rehearse(*d)
		e.failure = e.delivery.Failure
	}
	x.report(d, e)
	return nil
}

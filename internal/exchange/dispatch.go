package exchange

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// dispatch carries one dispatch from the request to the answer.
func (x *Exchange) dispatch(w http.ResponseWriter, r *http.Request, op nevisfido.Operation, next Next) error {
	body, request, err := x.readDispatch(w, r)
	if err != nil {
		return err
	}
	before, cancel := context.WithTimeout(r.Context(), x.Deadline) // for all that comes before nevisFIDO
	defer cancel()
	d, failure := x.choose(before, r, op, request)
	if failure == nil && d.Channel == nil { // nevisFIDO's own
		x.passed(x.whyPassed(request.Dispatcher))
		return next(w, withBody(r, body))
	}
	if request.Doubt != nil {
		return malformedRequest(request.Doubt)
	}
	var lease *delivery.Lease
	if failure == nil {
		lease, failure = x.courier.Admit(before, *d)
	}
	if failure != nil {
		return x.end(d, failed(failure, func(out nevisfido.Outcome) error {
			return writeJSON(w, http.StatusOK, nevisfido.RefusalAnswer(out))
		}))
	}
	defer lease.Release()
	e, answer := x.forward(w, d, next) // e has the way to the caller, whom x.end answers
	if answer != nil {
		e.delivery = x.courier.Deliver(*d, answer)
		e.failure = e.delivery.Failure
	}
	lease.GiveBack(d.HTTP.Context(), e.soFar(), e.failure)
	return x.end(d, e)
}

func malformedRequest(err error) error {
	return statusError(http.StatusBadRequest, "the dispatch request is malformed: %w", err)
}

// readDispatch reads a dispatch request. What it refuses is not forwarded:
// nevisFIDO documents the same statuses, and its parser might read something
// else.
func (x *Exchange) readDispatch(w http.ResponseWriter, r *http.Request) ([]byte, *nevisfido.DispatchRequest, error) {
	if !isPlainJSON(r.Header) {
		return nil, nil, statusError(http.StatusUnsupportedMediaType, "a dispatch request has to be application/json in UTF-8, without content coding")
	}
	body, err := readBody(w, r, x.MaxBody)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, nil, statusError(http.StatusRequestEntityTooLarge, "the dispatch request exceeds max_body, %d bytes", x.MaxBody)
	case err != nil:
		return nil, nil, statusError(http.StatusBadRequest, "reading the dispatch request: %w", err)
	}
	request, err := nevisfido.ParseDispatchRequest(body)
	if err != nil {
		return nil, nil, malformedRequest(err)
	}
	x.guessed(request.Guesses)
	return body, request, nil
}

func (x *Exchange) guessed(g nevisfido.Guesses) {
	if g == 0 {
		return
	}
	x.Observer.Guessed(g)
	if x.ObserveOnly && x.Shapes != nil {
		x.Shapes.Guessed(g)
	}
}

// choose finds the channel that was asked for: by name, or by the default of
// the stored target. It is nil, without a failure, where the call is
// nevisFIDO's. No channel serves a blocked target.
func (x *Exchange) choose(ctx context.Context, r *http.Request, op nevisfido.Operation, request *nevisfido.DispatchRequest) (*delivery.Dispatch, *dispatchers.Error) {
	d := &delivery.Dispatch{HTTP: r, Operation: op, Request: request, Start: time.Now(), Channel: x.Channels[request.Dispatcher]}
	if request.Dispatcher != "" && d.Channel == nil {
		return d, nil
	}
	target, failure := x.findTarget(ctx, request)
	if failure != nil {
		return d, failure
	}
	d.Target = target
	if d.Channel == nil && target != nil {
		d.Channel = x.Channels[target.Dispatcher]
	}
	if d.Channel != nil && target != nil && target.State() == targets.Blocked {
		return d, errBlocked
	}
	return d, nil
}

// errBlocked is like any other refusal to the caller.
var errBlocked = dispatchers.Fail(dispatchers.Refused, "blocked", "an operator has blocked the dispatch target")

// findTarget loads the target of the request; nil for one that nobody knows.
// Trouble with the store is never taken for a target that does not exist.
func (x *Exchange) findTarget(ctx context.Context, request *nevisfido.DispatchRequest) (*targets.Target, *dispatchers.Error) {
	if request.TargetID == "" {
		return nil, nil
	}
	target, err := x.Targets.Find(targets.WithUsername(ctx, request.Username), request.TargetID)
	switch {
	case errors.Is(err, targets.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, dispatchers.Fail(dispatchers.Broken, "store_unavailable", "loading the dispatch target: %w", err)
	}
	return target, nil
}

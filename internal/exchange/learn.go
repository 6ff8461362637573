package exchange

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/oob-dispatch/oob-dispatch/internal/tracing"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// createTarget learns a target when nevisFIDO has created it. nevisFIDO never
// sees the name of a dispatcher of ours: it would refuse it.
func (x *Exchange) createTarget(w http.ResponseWriter, r *http.Request, next Next) error {
	body, upstream, err := readTargetCall(w, r)
	if err != nil {
		return err
	}
	var description *nevisfido.TargetDescription
	if isPlainJSON(r.Header) {
		description, _ = nevisfido.ParseTarget(body)
	}
	if err := x.beginLearn(r); err != nil {
		return err
	}
	if description != nil && x.Channels[description.Dispatcher] != nil && !x.ObserveOnly {
		upstream = withBody(r, description.WithDispatcher(x.UpstreamDispatcher))
	}
	return x.learn(w, upstream, next, creation{
		source: targets.SourceCreate, description: description, carried: true,
		success: http.StatusCreated, parse: nevisfido.ParseCreated,
	})
}

// register learns the target that an SDK sends along with a UAF registration.
func (x *Exchange) register(w http.ResponseWriter, r *http.Request, next Next) error {
	body, upstream, err := readTargetCall(w, r)
	if err != nil {
		return err
	}
	description, err := nevisfido.ParseRegistration(body)
	if errors.Is(err, nevisfido.ErrNoTarget) {
		return next(w, upstream)
	}
	if err := x.beginLearn(r); err != nil {
		return err
	}
	return x.learn(w, upstream, next, creation{
		source: targets.SourceRegistration, description: description,
		carried: err == nil || errors.Is(err, nevisfido.ErrUnreadableTarget),
		success: http.StatusOK, parse: nevisfido.ParseRegistered,
	})
}

// beginLearn refuses a call that brings a target which could not be kept.
func (x *Exchange) beginLearn(r *http.Request) error {
	if x.ObserveOnly {
		return nil
	}
	ctx, cancel := x.detached(r)
	defer cancel()
	if err := x.Targets.BeginLearn(ctx); err != nil {
		return statusError(http.StatusServiceUnavailable, "a new dispatch target could not be kept; nothing was forwarded: %w", err)
	}
	return nil
}

// creation is a call that may make a dispatch target.
type creation struct {
	source      string
	description *nevisfido.TargetDescription // nil where it cannot be read
	carried     bool                         // the call certainly brings a target
	success     int                          // the documented status of success
	parse       func(answer []byte) (nevisfido.CreatedTarget, error)
}

// learn forwards the call and keeps the target, durably, before the caller
// hears of it. If the store fails, the answer is relayed all the same, because
// nevisFIDO has committed, and the target waits in the process. What nevisFIDO
// accepted and we could not read (the description is nil) may carry another key
// than the stored one, which is dropped.
func (x *Exchange) learn(w http.ResponseWriter, upstream *http.Request, next Next, l creation) error {
	rec := newRecorder(w, maxTargetBody, func(status int, _ http.Header) bool { return status == l.success })
	rec.passOnOverflow = true
	if err := next(rec, acceptIdentity(upstream)); err != nil {
		return err
	}
	if rec.state != holding {
		if rec.status == l.success {
			x.unidentified(upstream.Context(), l, errUnreadAnswer)
		}
		return rec.relay()
	}
	created, err := l.parse(rec.body.Bytes())
	if errors.Is(err, nevisfido.ErrNoTarget) {
		return rec.relay()
	}
	if err != nil {
		x.unidentified(upstream.Context(), l, err)
		return rec.relay()
	}
	x.guessed(created.Guesses)
	if l.description != nil {
		x.guessed(l.description.Guesses)
	}
	ctx, cancel := x.detached(upstream)
	defer cancel()
	if l.description == nil {
		err = x.Targets.Invalidate(ctx, created.ID, l.source)
	} else {
		err = x.Targets.Learn(ctx, l.description, created, l.source)
	}
	if err != nil {
		tracing.Log(ctx, x.Log).Error("learning a dispatch target: until the store takes it, only this process knows of it",
			slog.String("call", l.source), slog.String("target", x.targetHash(created.ID)), slog.Any("error", err))
	}
	return rec.relay()
}

var errUnreadAnswer = errors.New("the answer is too large, or content-coded")

// unidentified tells the operator of a target whose id is not known to us,
// although nevisFIDO has made it. Messages to it end with
// dispatchTargetNotFound.
func (x *Exchange) unidentified(ctx context.Context, l creation, err error) {
	if !l.carried {
		return
	}
	why := targets.WhyNoAnswer
	switch {
	case errors.Is(err, nevisfido.ErrNoID):
		why = targets.WhyNoID
	case errors.Is(err, nevisfido.ErrSeveralIDs):
		why = targets.WhySeveralIDs
	}
	tracing.Log(ctx, x.Log).Warn("nevisFIDO's answer does not tell which dispatch target it has made; the target stays unknown to this sidecar",
		slog.String("call", l.source), slog.String("reason", why), slog.Any("error", err))
	x.Targets.Unidentified(ctx, l.source, why)
	if x.ObserveOnly && x.Shapes != nil {
		x.Shapes.Unidentified(l.source, why)
	}
}

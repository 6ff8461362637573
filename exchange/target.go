package exchange

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// maxTargetBody bounds what is read of the calls that targets are learned
// from, and of their answers. Beyond it they stream through.
const maxTargetBody = 256 << 10

// changeTime is how long nevisFIDO may take to change a target: as long as it
// keeps an idle connection.
const changeTime = 30 * time.Second

// createTarget learns a target when nevisFIDO has created it. nevisFIDO never
// sees the name of a dispatcher of ours: it would refuse it.
func (x *Exchange) createTarget(w http.ResponseWriter, r *http.Request, next Next) error {
	body, upstream, err := readable(w, r)
	if err != nil {
		return err
	}
	var description *nevisfido.TargetDescription
	if plainJSON(r.Header) {
		description, _ = nevisfido.ParseTarget(body)
	}
	if description != nil && x.Channels[description.Dispatcher] != nil && !x.ObserveOnly {
		upstream = withBody(r, description.WithDispatcher(x.UpstreamDispatcher))
	}
	return x.learn(w, upstream, next, "create", description, nevisfido.ParseCreated)
}

// register learns the target that an SDK sends along with a UAF registration.
func (x *Exchange) register(w http.ResponseWriter, r *http.Request, next Next) error {
	body, upstream, err := readable(w, r)
	if err != nil {
		return err
	}
	description, err := nevisfido.ParseRegistration(body)
	if errors.Is(err, nevisfido.ErrNoTarget) {
		return next(w, upstream)
	}
	return x.learn(w, upstream, next, "registration", description, nevisfido.ParseRegistered)
}

// readable returns the body of a request, nil where it is too large to be
// read, and the request to forward, which has all of it.
func readable(w http.ResponseWriter, r *http.Request) ([]byte, *http.Request, error) {
	body, err := readBody(w, r, maxTargetBody)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, r.Clone(r.Context()), nil
	case err != nil:
		return nil, nil, statusError(http.StatusBadRequest, "reading the request: %w", err)
	}
	return body, withBody(r, body), nil
}

// learn forwards the call and keeps the target, durably, before the caller
// hears of it. If the store fails the answer is relayed all the same:
// nevisFIDO has committed, and the target is simply unknown to us. What
// nevisFIDO accepted and we could not read (description is nil) may carry
// another key than the stored one, which is dropped.
func (x *Exchange) learn(w http.ResponseWriter, upstream *http.Request, next Next, source string,
	description *nevisfido.TargetDescription, parse func([]byte) (nevisfido.CreatedTarget, error),
) error {
	rec := newRecorder(w, maxTargetBody, func(status int, _ http.Header) bool {
		return status == http.StatusOK || status == http.StatusCreated
	})
	rec.spill = true
	if err := next(rec, uncoded(upstream)); err != nil {
		return err
	}
	if rec.state != holding {
		return rec.relay()
	}
	created, err := parse(rec.body.Bytes())
	if errors.Is(err, nevisfido.ErrNoTarget) {
		return rec.relay()
	}
	if err != nil {
		x.Log.Warn("nevisFIDO's answer names no dispatch target that can be learned", zap.String("call", source), zap.Error(err))
		return rec.relay()
	}
	ctx, cancel := x.detached(upstream)
	defer cancel()
	if description == nil {
		err = x.Targets.Drop(ctx, created.ID, "unreadable")
	} else {
		err = x.Targets.Learn(ctx, description, created, source)
	}
	if err != nil {
		x.Log.Error("learning a dispatch target; it stays unknown to this sidecar", zap.String("call", source),
			zap.String("target", TargetHash(created.ID)), zap.Error(err))
	}
	return rec.relay()
}

// queryTargets shows our dispatchers' names where nevisFIDO knows only the
// one that stands for them.
func (x *Exchange) queryTargets(w http.ResponseWriter, r *http.Request, next Next) error {
	rec := newRecorder(w, maxTargetBody, func(status int, h http.Header) bool {
		return status == http.StatusOK && isJSON(h)
	})
	rec.spill = true
	if err := next(rec, uncoded(r.Clone(r.Context()))); err != nil {
		return err
	}
	if rec.state != holding {
		return rec.relay()
	}
	body, err := nevisfido.RenameDispatchers(rec.body.Bytes(), func(id, dispatcher string) string {
		if dispatcher != x.UpstreamDispatcher {
			return dispatcher
		}
		target, err := x.Targets.Store.Load(r.Context(), targets.Ref{Namespace: x.Targets.Namespace, ID: id})
		if err != nil || x.Channels[target.Dispatcher] == nil {
			return dispatcher
		}
		return target.Dispatcher
	})
	if err != nil || bytes.Equal(body, rec.body.Bytes()) {
		return rec.relay()
	}
	return rec.replace(body)
}

// modifyTarget marks the record stale before nevisFIDO may change the target,
// and commits what nevisFIDO accepted.
func (x *Exchange) modifyTarget(w http.ResponseWriter, r *http.Request, id string, next Next) error {
	body, upstream, err := readable(w, r)
	if err != nil {
		return err
	}
	return x.change(w, upstream, id, next, func() (*targets.Pending, error) {
		return x.Targets.BeginModify(r.Context(), id, body)
	})
}

func (x *Exchange) deleteTarget(w http.ResponseWriter, r *http.Request, id string, next Next) error {
	return x.change(w, r.Clone(r.Context()), id, next, func() (*targets.Pending, error) {
		return x.Targets.BeginDelete(r.Context(), id)
	})
}

// change carries a modification or deletion through. It does not end with the
// caller: a half-known outcome would leave the target unusable.
func (x *Exchange) change(w http.ResponseWriter, upstream *http.Request, id string, next Next, begin func() (*targets.Pending, error)) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(upstream.Context()), changeTime)
	defer cancel()
	pending, unlock, err := x.mark(ctx, id, begin)
	if err != nil && x.ObserveOnly {
		x.Log.Error("a change of a dispatch target goes unrecorded", zap.String("target", TargetHash(id)), zap.Error(err))
		return next(w, upstream)
	}
	if err != nil {
		return statusError(http.StatusServiceUnavailable, "preparing the change of the dispatch target; nothing was forwarded: %w", err)
	}
	defer unlock()
	rec := newRecorder(w, maxTargetBody, func(int, http.Header) bool { return true })
	rec.spill = true
	settled := false
	defer func() {
		if !settled { // the proxy panicked: nobody knows what nevisFIDO did
			x.finish(upstream, pending, id, 0)
		}
	}()
	err = next(rec, uncoded(upstream.WithContext(ctx)))
	settled = true
	if err != nil { // whatever was written is not nevisFIDO's answer
		x.finish(upstream, pending, id, 0)
		return err
	}
	if x.appliesOurDispatcher(upstream, pending, id, rec) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	x.finish(upstream, pending, id, rec.status)
	return rec.relay()
}

// mark marks the target durably, with other changes of it kept waiting.
func (x *Exchange) mark(ctx context.Context, id string, begin func() (*targets.Pending, error)) (*targets.Pending, func(), error) {
	waiting, cancel := context.WithTimeout(ctx, x.Deadline)
	defer cancel()
	unlock, err := x.Targets.Lock(waiting, id)
	if err != nil {
		return nil, nil, err
	}
	pending, err := begin()
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return pending, unlock, nil
}

// finish commits or restores the record. It has time of its own, as the
// deadline may have passed while nevisFIDO answered.
func (x *Exchange) finish(r *http.Request, pending *targets.Pending, id string, status int) {
	ctx, cancel := x.detached(r)
	defer cancel()
	if err := pending.Finish(ctx, status); err != nil {
		x.Log.Error("the dispatch target stays stale after a change", zap.String("target", TargetHash(id)),
			zap.Int("status", status), zap.Error(err))
	}
}

// appliesOurDispatcher carries out a modification that nevisFIDO refused only
// because it does not know the name of our dispatcher.
func (x *Exchange) appliesOurDispatcher(r *http.Request, pending *targets.Pending, id string, rec *recorder) bool {
	name, only := pending.OnlyDispatcher()
	if x.ObserveOnly || !only || rec.status != http.StatusUnprocessableEntity || rec.state != holding || x.Channels[name] == nil {
		return false
	}
	ctx, cancel := x.detached(r)
	defer cancel()
	if err := pending.ApplyDispatcher(ctx); err != nil {
		x.Log.Error("changing the dispatcher of a dispatch target", zap.String("target", TargetHash(id)), zap.Error(err))
		return false
	}
	return true
}

// changeDevice forgets, or stops trusting, the targets of a device that
// changed through the device service.
func (x *Exchange) changeDevice(w http.ResponseWriter, r *http.Request, route nevisfido.Route, next Next) error {
	rec := newRecorder(w, maxTargetBody, func(status int, _ http.Header) bool { return status/100 == 2 })
	rec.spill = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), changeTime)
	defer cancel()
	if err := next(rec, r.WithContext(ctx)); err != nil {
		return err
	}
	if rec.status/100 != 2 {
		return nil
	}
	if err := x.Targets.DeviceChanged(ctx, route.ID, route.Call == nevisfido.DeleteDevice); err != nil {
		x.Log.Error("following a change of a device; its dispatch targets may be out of date",
			zap.String("device", keyedHash("device", route.ID)), zap.Error(err))
	}
	return rec.relay()
}

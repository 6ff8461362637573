package exchange

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// maxTargetBody bounds what is read of the calls that targets are learned
// from, and of their answers. Beyond it they stream through.
const maxTargetBody = 256 << 10

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

// whole reads a request to its end before anything is marked: who sends half of
// one, and leaves, must not be able to disable a target.
func whole(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	body, upstream, err := readable(w, r)
	if err == nil && body == nil && r.Body != nil {
		return nil, statusError(http.StatusRequestEntityTooLarge, "the request exceeds %d bytes", maxTargetBody)
	}
	return upstream, err
}

// warnOfOverflow says that a change was not even remembered.
func (x *Exchange) warnOfOverflow() {
	if x.Targets.Doubts.Overflowed() {
		x.Log.Error("more changes of dispatch targets wait for the store than can be remembered: until a restart nothing is sent to any target that is not registered again, or repaired by a key source",
			slog.Int("remembered", x.Targets.Doubts.Len()))
	}
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
	ctx, cancel := context.WithTimeout(r.Context(), x.Deadline)
	defer cancel()
	body, err := nevisfido.RenameDispatchers(rec.body.Bytes(), func(id, dispatcher string) string {
		if dispatcher != x.UpstreamDispatcher {
			return dispatcher
		}
		target, err := x.Targets.Store.Load(ctx, targets.Ref{Namespace: x.Targets.Namespace, ID: id})
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
	c := &change{
		subject: slog.String("target", TargetHash(id)),
		begin: x.locked(id, func(ctx context.Context) (*targets.Pending, error) {
			return x.Targets.BeginModify(ctx, id, body)
		}),
		unrecorded: func() pending { return x.Targets.Unrecorded(id) },
	}
	if body == nil && upstream.Body != nil { // too large to be read before
		c.body = &ending{ReadCloser: upstream.Body, length: upstream.ContentLength}
		upstream.Body = c.body
	}
	return x.change(w, upstream, c, next)
}

func (x *Exchange) deleteTarget(w http.ResponseWriter, r *http.Request, id string, next Next) error {
	upstream, err := whole(w, r)
	if err != nil {
		return err
	}
	return x.change(w, upstream, &change{
		subject: slog.String("target", TargetHash(id)),
		begin: x.locked(id, func(ctx context.Context) (*targets.Pending, error) {
			return x.Targets.BeginDelete(ctx, id)
		}),
		unrecorded: func() pending { return x.Targets.Unrecorded(id) },
	}, next)
}

// changeDevice follows a change of a device through the device service: its
// targets are forgotten, or trusted no more.
func (x *Exchange) changeDevice(w http.ResponseWriter, r *http.Request, route nevisfido.Route, next Next) error {
	deletes := route.Call == nevisfido.DeleteDevice
	upstream, err := whole(w, r)
	if err != nil {
		return err
	}
	return x.change(w, upstream, &change{
		subject: slog.String("device", keyedHash("device", route.ID)),
		begin: func(ctx context.Context) (pending, func(), error) {
			unlock, err := x.Targets.LockDevice(ctx, route.ID)
			if err != nil {
				return nil, nil, err
			}
			p, err := x.Targets.BeginDevice(ctx, route.ID, deletes)
			if err != nil {
				unlock()
				return nil, nil, err
			}
			return p, unlock, nil
		},
		unrecorded: func() pending { return x.Targets.UnrecordedDevice(route.ID, deletes) },
	}, next)
}

// pending is a change that nevisFIDO is being asked for.
type pending interface {
	Finish(ctx context.Context, status int) error
}

// change is a request that changes dispatch targets.
type change struct {
	subject slog.Attr // for the log

	// begin marks the records stale, durably, and keeps other changes of them
	// waiting until end is called.
	begin func(context.Context) (p pending, end func(), err error)

	// unrecorded takes its place where the store fails and the request is
	// forwarded nevertheless.
	unrecorded func() pending

	// body is that of a modification which streams through; else nil. Without
	// its end nevisFIDO cannot have read the modification.
	body *ending
}

// ending is a body that knows whether it was read to its end, which is where
// its declared length says, if that is known.
type ending struct {
	io.ReadCloser
	length  int64 // -1 where it is not known
	read    int64
	reached atomic.Bool
}

func (e *ending) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	e.read += int64(n)
	if err == io.EOF || e.length >= 0 && e.read >= e.length {
		e.reached.Store(true)
	}
	return n, err
}

// locked begins a change of one target when no other is under way.
func (x *Exchange) locked(id string, begin func(context.Context) (*targets.Pending, error)) func(context.Context) (pending, func(), error) {
	return func(ctx context.Context) (pending, func(), error) {
		unlock, err := x.Targets.Lock(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		p, err := begin(ctx)
		if err != nil {
			unlock()
			return nil, nil, err
		}
		return p, unlock, nil
	}
}

// begin prepares a change, in time.
func (x *Exchange) begin(ctx context.Context, c *change) (p pending, end func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, x.Deadline)
	defer cancel()
	p, end, err = c.begin(ctx)
	switch {
	case err == nil:
		return p, end, nil
	case !x.ObserveOnly:
		return nil, nil, statusError(http.StatusServiceUnavailable, "preparing the change of the dispatch target; nothing was forwarded: %w", err)
	}
	p = c.unrecorded()
	x.Log.Error("the store cannot be told of a change that is let through; if nevisFIDO makes it, nothing is sent to its dispatch targets until they are registered again, or a key source repairs them",
		c.subject, slog.Any("error", err))
	x.warnOfOverflow()
	return p, func() {}, nil
}

// change carries a modification or deletion through. It does not end with the
// caller: a half-known outcome would leave the target unusable.
func (x *Exchange) change(w http.ResponseWriter, upstream *http.Request, c *change, next Next) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(upstream.Context()), targets.ChangeTime)
	defer cancel()
	p, end, err := x.begin(ctx, c)
	if err != nil {
		return err
	}
	defer end()
	rec := newRecorder(w, maxTargetBody, func(int, http.Header) bool { return true })
	rec.spill = true
	settled := false
	defer func() {
		if !settled { // the proxy panicked: nobody knows what nevisFIDO did
			x.finish(upstream, p, c, 0)
		}
	}()
	err = next(rec, uncoded(upstream.WithContext(ctx)))
	settled = true
	if err != nil { // whatever was written is not nevisFIDO's answer
		status := 0
		if errors.Is(err, ErrUnsent) {
			status = targets.Unsent
		}
		x.finish(upstream, p, c, status)
		return err
	}
	if x.appliesOurDispatcher(upstream, p, c, rec) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	x.finish(upstream, p, c, rec.status)
	return rec.relay()
}

// finish commits or restores the records. It has time of its own, as the
// deadline may have passed while nevisFIDO answered.
func (x *Exchange) finish(r *http.Request, p pending, c *change, status int) {
	ctx, cancel := x.detached(r)
	defer cancel()
	if c.body != nil && !c.body.reached.Load() && (status < 200 || status > 299) {
		status = targets.Unsent
	}
	if err := p.Finish(ctx, status); err != nil {
		x.Log.Error("a dispatch target stays stale after a change", c.subject, slog.Int("status", status), slog.Any("error", err))
		x.warnOfOverflow()
	}
}

// appliesOurDispatcher carries out a modification that nevisFIDO refused only
// because it does not know the name of our dispatcher.
func (x *Exchange) appliesOurDispatcher(r *http.Request, p pending, c *change, rec *recorder) bool {
	modification, ok := p.(*targets.Pending)
	if !ok || x.ObserveOnly {
		return false
	}
	name, only := modification.OnlyDispatcher()
	if !only || rec.status != http.StatusUnprocessableEntity || rec.state != holding || x.Channels[name] == nil {
		return false
	}
	ctx, cancel := x.detached(r)
	defer cancel()
	if err := modification.ApplyDispatcher(ctx); err != nil {
		x.Log.Error("changing the dispatcher of a dispatch target", c.subject, slog.Any("error", err))
		return false
	}
	return true
}

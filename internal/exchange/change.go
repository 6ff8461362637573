package exchange

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/oob-dispatch/oob-dispatch/internal/tracing"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// changeCall is a request that changes dispatch targets.
type changeCall struct {
	subject slog.Attr // for the log

	// begin makes the records stale, durably, and keeps other changes of them
	// waiting until the change is finished.
	begin func(context.Context) (*targets.Change, error)

	// body is that of a modification which streams through; else nil. Without
	// its end nevisFIDO cannot have read the modification.
	body *countedBody
}

// modifyTarget makes the record stale before nevisFIDO may change the target,
// and applies what nevisFIDO accepted.
func (x *Exchange) modifyTarget(w http.ResponseWriter, r *http.Request, id string, next Next) error {
	body, upstream, err := readTargetCall(w, r)
	if err != nil {
		return err
	}
	c := changeCall{
		subject: slog.String("target", x.targetHash(id)),
		begin: func(ctx context.Context) (*targets.Change, error) {
			return x.Targets.BeginModify(ctx, id, body)
		},
	}
	if body == nil && upstream.Body != nil { // too large to be read before
		c.body = &countedBody{ReadCloser: upstream.Body, length: upstream.ContentLength}
		upstream.Body = c.body
	}
	return x.change(w, upstream, c, next)
}

func (x *Exchange) deleteTarget(w http.ResponseWriter, r *http.Request, id string, next Next) error {
	upstream, err := wholeRequest(w, r)
	if err != nil {
		return err
	}
	return x.change(w, upstream, changeCall{
		subject: slog.String("target", x.targetHash(id)),
		begin: func(ctx context.Context) (*targets.Change, error) {
			return x.Targets.BeginDelete(ctx, id)
		},
	}, next)
}

// deviceSignature is the header in which the device service gets what the device
// has signed (nevisFIDO reference guide, device service).
const deviceSignature = "Device-Signature"

// changeDevice follows a change of a device through the device service: the
// targets that the signing target's user has there are forgotten, or stale.
func (x *Exchange) changeDevice(w http.ResponseWriter, r *http.Request, route nevisfido.Route, next Next) error {
	upstream, err := wholeRequest(w, r)
	if err != nil {
		return err
	}
	call := targets.DeviceCall{
		Device: route.ID, Deletes: route.Call == nevisfido.DeleteDevice,
		Signature: r.Header.Get(deviceSignature), Body: upstream.ContentLength != 0,
	}
	return x.change(w, upstream, changeCall{
		subject: slog.String("device", x.deviceHash(route.ID)),
		begin: func(ctx context.Context) (*targets.Change, error) {
			return x.Targets.BeginDevice(ctx, call)
		},
	}, next)
}

// change carries a modification or deletion through. It does not end with the
// caller: a half-known outcome would leave the target unusable.
func (x *Exchange) change(w http.ResponseWriter, upstream *http.Request, c changeCall, next Next) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(upstream.Context()), targets.ChangeTime)
	defer cancel()
	change, err := x.prepare(ctx, c)
	if err != nil {
		return err
	}
	// Where the proxy panics, nobody knows what nevisFIDO did.
	defer func() { x.finish(upstream, c, change, 0) }()
	rec := newRecorder(w, maxTargetBody, func(int, http.Header) bool { return true })
	rec.passOnOverflow = true
	if err := next(rec, acceptIdentity(upstream.WithContext(ctx))); err != nil {
		if errors.Is(err, ErrUnsent) {
			x.finish(upstream, c, change, targets.Unsent)
		}
		return err // whatever was written is not nevisFIDO's answer
	}
	if x.appliesOurDispatcher(upstream, c, change, rec) { // and has finished the change
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	x.finish(upstream, c, change, rec.status)
	return rec.relay()
}

// prepare begins a change, in time.
func (x *Exchange) prepare(ctx context.Context, c changeCall) (*targets.Change, error) {
	ctx, cancel := context.WithTimeout(ctx, x.Deadline)
	defer cancel()
	change, err := c.begin(ctx)
	switch {
	case err == nil:
	case x.ObserveOnly:
		change.Unrecorded()
		tracing.Log(ctx, x.Log).Error("the store cannot be told of a change that is let through; if nevisFIDO makes it, nothing is sent to its dispatch targets until they are registered again, or a key source repairs them",
			c.subject, slog.Any("error", err))
	default:
		return nil, statusError(http.StatusServiceUnavailable, "preparing the change of the dispatch target; nothing was forwarded: %w", err)
	}
	return change, nil
}

// appliesOurDispatcher carries out a modification that nevisFIDO refused only
// because it does not know the name of our dispatcher.
func (x *Exchange) appliesOurDispatcher(r *http.Request, c changeCall, change *targets.Change, rec *recorder) bool {
	name, only := change.OnlyDispatcher()
	if !only || x.ObserveOnly || rec.status != http.StatusUnprocessableEntity || rec.state != holding || x.Channels[name] == nil {
		return false
	}
	ctx, cancel := x.detached(r)
	defer cancel()
	if err := change.ApplyDispatcher(ctx); err != nil {
		tracing.Log(ctx, x.Log).Error("changing the dispatcher of a dispatch target", c.subject, slog.Any("error", err))
		return false
	}
	return true
}

// finish records how the change ended, unless that is done. It has time of its
// own, as the deadline may have passed while nevisFIDO answered.
func (x *Exchange) finish(r *http.Request, c changeCall, change *targets.Change, status int) {
	ctx, cancel := x.detached(r)
	defer cancel()
	if c.body != nil && !c.body.ended.Load() && (status < 200 || status > 299) {
		status = targets.Unsent
	}
	if err := change.Finish(ctx, status); err != nil {
		tracing.Log(ctx, x.Log).Error("a dispatch target stays stale after a change", c.subject, slog.Int("status", status), slog.Any("error", err))
	}
}

// countedBody is a body that knows whether it was read to its end, which is where
// its declared length says, if that is known.
type countedBody struct {
	io.ReadCloser
	length int64 // -1 where it is not known
	read   int64
	ended  atomic.Bool
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if err == io.EOF || b.length >= 0 && b.read >= b.length {
		b.ended.Store(true)
	}
	return n, err
}

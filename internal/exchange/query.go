package exchange

import (
	"bytes"
	"context"
	"net/http"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// queryTargets shows our dispatchers' names where nevisFIDO knows only the
// one that stands for them.
func (x *Exchange) queryTargets(w http.ResponseWriter, r *http.Request, next Next) error {
	rec := newRecorder(w, maxTargetBody, func(status int, h http.Header) bool {
		return status == http.StatusOK && isJSON(h)
	})
	rec.passOnOverflow = true
	if err := next(rec, acceptIdentity(r.Clone(r.Context()))); err != nil {
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
		target, err := x.Targets.Known(ctx, id)
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

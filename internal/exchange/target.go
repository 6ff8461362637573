package exchange

import (
	"bytes"
	"context"
	"errors"
	"net/http"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
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

// wholeRequest reads a request to its end before a record becomes stale: who
// sends half of one, and leaves, must not be able to disable a target.
func wholeRequest(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	body, upstream, err := readable(w, r)
	if err == nil && body == nil && r.Body != nil {
		return nil, statusError(http.StatusRequestEntityTooLarge, "the request exceeds %d bytes", maxTargetBody)
	}
	return upstream, err
}

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

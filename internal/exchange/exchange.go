// Package exchange is what a request goes through: a middleware for net/http
// that recognises nevisFIDO's out-of-band calls, takes over the delivery of
// dispatch messages, and learns dispatch targets from the calls that manage
// them. It knows nothing of Caddy.
package exchange

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// Next forwards a request to nevisFIDO. An error means that no answer was
// written; it is ErrUnsent where nevisFIDO has not got a byte of the request.
type Next func(http.ResponseWriter, *http.Request) error

// ErrUnsent is matched by errors of Next about a nevisFIDO that was not there.
var ErrUnsent = errors.New("the request was not sent")

// StatusError asks for an answer with an HTTP status and without content.
type StatusError struct {
	Status int
	Err    error
}

func (e *StatusError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *StatusError) Unwrap() error { return e.Err }

func statusError(status int, format string, args ...any) error {
	return &StatusError{status, fmt.Errorf(format, args...)}
}

// Exchange handles requests. All fields are set before the first request and
// never changed afterwards.
type Exchange struct {
	BasePath           string // such as "/nevisfido"
	UpstreamDispatcher string // what nevisFIDO is asked for in place of our dispatchers
	RedeemURL          string // "/<operation>" is appended; "" where nevisFIDO's link tells it
	Lifetimes          map[nevisfido.Operation]time.Duration
	Deadline           time.Duration // for all delivery work of one request
	MaxBody            int64         // bytes, of a dispatch request and of its answer
	VisualCodeDigits   int           // 0 for none
	ObserveOnly        bool          // learn and report, intercept nothing

	Targets   *targets.Directory
	Handles   *Handles // nil where no channel has short links
	Channels  map[string]*Channel
	OnExpired *Channel // told when a target is quarantined; may be nil
	Limits    []dispatchers.Limit
	Limiter   targets.SharedCounter
	Observer  Observer
	Log       *zap.Logger

	// Lookup resolves a placeholder that is not one of ours.
	Lookup func(r *http.Request, placeholder string) (string, bool)

	// User returns what the key sources know of a user; nil where there are
	// none that know users.
	User func(ctx context.Context, username string) (*targets.User, error)

	// ClientIP returns the address that "limit client" counts.
	ClientIP func(r *http.Request) string

	background background
}

// Wait waits for the work that goes on after its request was answered; each
// piece takes Deadline at most. It is for servers that are about to exit.
func (x *Exchange) Wait() { x.background.wait() }

// ServeHTTP handles one request. What is not one of the calls of interest goes
// straight through, unbuffered.
func (x *Exchange) ServeHTTP(w http.ResponseWriter, r *http.Request, next Next) error {
	if x.Handles.Covers(r) {
		return x.claim(w, r)
	}
	route, err := nevisfido.Recognise(x.BasePath, r.Method, r.URL.EscapedPath())
	if err != nil && !x.ObserveOnly {
		return &StatusError{http.StatusBadRequest, err}
	}
	switch route.Call {
	case nevisfido.Dispatch:
		if x.ObserveOnly {
			return x.observe(w, r, route.Operation, next)
		}
		return x.dispatch(w, r, route.Operation, next)
	case nevisfido.CreateTarget:
		return x.createTarget(w, r, next)
	case nevisfido.QueryTargets:
		if x.ObserveOnly {
			return next(w, r)
		}
		return x.queryTargets(w, r, next)
	case nevisfido.ModifyTarget:
		return x.modifyTarget(w, r, route.ID, next)
	case nevisfido.DeleteTarget:
		return x.deleteTarget(w, r, route.ID, next)
	case nevisfido.RegisterResponse:
		return x.register(w, r, next)
	case nevisfido.ModifyDevice, nevisfido.DeleteDevice:
		return x.changeDevice(w, r, route, next)
	default:
		return next(w, r)
	}
}

// detached returns a context for work that must be finished although the
// caller may have gone: nevisFIDO has acted already.
func (x *Exchange) detached(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), x.Deadline)
}

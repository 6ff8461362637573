// Package exchange is what a request goes through: a middleware for net/http
// that recognises nevisFIDO's out-of-band calls, takes over the delivery of
// dispatch messages, and learns dispatch targets from the calls that manage
// them. It knows nothing of Caddy.
//
// A dispatch is read and chosen (dispatch.go), admitted (package delivery), forwarded
// (upstream.go), delivered (package delivery again) and reported (report.go).
package exchange

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/internal/shapes"
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

// Config is what an Exchange works with. It must not change after New.
type Config struct {
	// What deliveries work with, of which the exchange uses some itself: Channels,
	// Targets, Links, RedeemURL, Deadline, Log and Hash.
	delivery.Config

	BasePath           string        // such as "/nevisfido"
	UpstreamDispatcher string        // what nevisFIDO is asked for in place of our dispatchers
	MaxBody            int64         // bytes, of a dispatch request and of its answer
	UpstreamTimeout    time.Duration // how long nevisFIDO may take over a dispatch

	ObserveOnly bool              // learn and report, intercept nothing
	Shapes      *shapes.Collector // of what passes while ObserveOnly; nil for none

	Observer Observer
}

// Exchange handles requests.
type Exchange struct {
	Config
	courier  *delivery.Courier
	warnings lastWarnings
}

// New makes an Exchange. The error is a *delivery.CompositeError: dispatchers
// cannot work with each other.
func New(c Config) (*Exchange, error) {
	c.Limited = c.Observer.Limited
	courier, err := delivery.New(c.Config)
	if err != nil {
		return nil, err
	}
	return &Exchange{Config: c, courier: courier, warnings: lastWarnings{at: make(map[string]time.Time)}}, nil
}

// Wait waits for the work that goes on after its request was answered; each
// piece takes Deadline at most. It is for servers that are about to exit.
func (x *Exchange) Wait() { x.courier.Wait() }

// KeyChanged tells users of a target that was learned or has another key, see
// delivery.Courier.
func (x *Exchange) KeyChanged(r *http.Request, e targets.Event) { x.courier.KeyChanged(r, e) }

// ServeHTTP handles one request. What is not one of the calls of interest goes
// straight through, unbuffered.
func (x *Exchange) ServeHTTP(w http.ResponseWriter, r *http.Request, next Next) error {
	if x.Links.Covers(r) {
		x.Links.ServeHTTP(w, r)
		return nil
	}
	body := r.Body
	err := x.serve(w, r, next)
	if _, refused := errors.AsType[*StatusError](err); refused {
		r.Body = body
		discardBody(w, r, x.MaxBody)
	}
	return err
}

func (x *Exchange) serve(w http.ResponseWriter, r *http.Request, next Next) error {
	route, err := nevisfido.Recognise(x.BasePath, r.Method, r.URL.EscapedPath())
	if err != nil && !x.ObserveOnly {
		return &StatusError{http.StatusBadRequest, err}
	}
	if route.Call == nevisfido.Other {
		return x.call(w, r, route, next)
	}
	call := x.call
	if x.ObserveOnly && x.Shapes != nil {
		call = x.watch
	}
	return x.traced(w, r, route, next, call)
}

// call handles one of the calls of interest, and any other.
func (x *Exchange) call(w http.ResponseWriter, r *http.Request, route nevisfido.Route, next Next) error {
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
		if besideBasePath(r) {
			x.passed(PassedBasePath)
		}
		return next(w, r)
	}
}

// detached returns a context for work that must be finished although the
// caller may have gone: nevisFIDO has acted already.
func (x *Exchange) detached(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), x.Deadline)
}

// targetHash stands for the id of a dispatch target in logs.
func (x *Exchange) targetHash(id string) string { return x.Hash.Of("target", id) }

// deviceHash stands for the id of a device in logs.
func (x *Exchange) deviceHash(id string) string { return x.Hash.Of("device", id) }

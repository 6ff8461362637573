package exchange

import (
	"net/http"
	"path"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/internal/tracing"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// spanNames are those of the calls.
var spanNames = map[nevisfido.Call]string{
	nevisfido.Dispatch:         "oob.dispatch",
	nevisfido.CreateTarget:     "oob.create_target",
	nevisfido.QueryTargets:     "oob.query_targets",
	nevisfido.ModifyTarget:     "oob.modify_target",
	nevisfido.DeleteTarget:     "oob.delete_target",
	nevisfido.RegisterResponse: "oob.register",
	nevisfido.ModifyDevice:     "oob.modify_device",
	nevisfido.DeleteDevice:     "oob.delete_device",
}

// traced serves a call within a span, and nevisFIDO's part of it within another
// one, which nevisFIDO's own spans belong to. Without a trace it is call.
func (x *Exchange) traced(w http.ResponseWriter, r *http.Request, route nevisfido.Route, next Next,
	call func(http.ResponseWriter, *http.Request, nevisfido.Route, Next) error,
) error {
	caller := tracing.Current(r.Context())
	if !caller.Present() {
		return call(w, r, route, next)
	}
	caller.Text(tracing.URLPath, x.pathWithoutID(r, route))
	ctx, span := tracing.Start(r.Context(), spanNames[route.Call])
	defer span.End()
	span.Text(tracing.Operation, string(route.Operation))
	err := call(w, r.WithContext(ctx), route, func(w http.ResponseWriter, r *http.Request) error {
		return tracedNext(w, r, next)
	})
	if err != nil {
		span.Fail("")
	}
	return err
}

func tracedNext(w http.ResponseWriter, r *http.Request, next Next) error {
	ctx, span := tracing.Start(r.Context(), tracing.Upstream)
	defer span.End()
	r = r.Clone(ctx)
	tracing.Inject(ctx, r.Header)
	err := next(w, r)
	if err != nil {
		span.Fail("")
	}
	if rec, ok := w.(*recorder); ok && rec.status != 0 {
		span.Number(tracing.Status, rec.status)
	}
	return err
}

// pathWithoutID is for Caddy's span, which has the path of the request: a keyed
// hash stands for the id of a target or a device there.
func (x *Exchange) pathWithoutID(r *http.Request, route nevisfido.Route) string {
	collection := path.Dir(strings.TrimRight(r.URL.Path, "/"))
	switch route.Call {
	case nevisfido.ModifyTarget, nevisfido.DeleteTarget:
		return path.Join(collection, x.targetHash(route.ID))
	case nevisfido.ModifyDevice, nevisfido.DeleteDevice:
		return path.Join(collection, x.deviceHash(route.ID))
	default:
		return ""
	}
}

// traceOutcome sets what is known of a dispatch at its end.
func traceOutcome(span tracing.Span, r Record) {
	span.Text(tracing.Dispatcher, r.Dispatcher)
	span.Text(tracing.Delivered, r.Delivered)
	span.Text(tracing.Result, string(r.Result))
	span.Text(tracing.Class, string(r.Class))
	span.Text(tracing.Reason, r.Reason)
	span.Text(tracing.Encryption, r.Encryption)
	if r.Reason != "" {
		span.Fail(r.Reason)
	}
}

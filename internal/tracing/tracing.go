// Package tracing makes the spans of an exchange (OpenTelemetry) and passes
// their trace on. It goes on with the trace of the span in a context, which
// Caddy's directive tracing puts there. Where there is none, everything here
// does nothing and allocates nothing.
package tracing

import (
	"context"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const scope = "github.com/oob-dispatch/oob-dispatch"

// The spans that are parts of a call; see docs/tracing.md.
const (
	Upstream  = "oob.upstream"   // nevisFIDO's part
	Store     = "oob.store"      // one access to the store
	KeySource = "oob.key_source" // a key source is asked for a target or for a user
	Seal      = "oob.seal"       // the message is encrypted
	Attempt   = "oob.attempt"    // one attempt of a dispatcher
)

// The attributes of spans. None of them is about a person or a device, but for
// URLPath, which Caddy's span has.
const (
	Operation      = "oob.operation"
	Dispatcher     = "oob.dispatcher"      // name in the configuration
	DispatcherType = "oob.dispatcher_type" // such as fcm
	Delivered      = "oob.delivered"       // name of the dispatcher that delivered
	Result         = "oob.result"          // dispatchResult
	Class          = "oob.class"           // outcome class
	Reason         = "oob.reason"
	Encryption     = "oob.encryption"
	StoreOperation = "oob.store_operation"
	Source         = "oob.source"                // name of a key source
	Status         = "http.response.status_code" // nevisFIDO's
	URLPath        = "url.path"
)

// Span is one span. The zero value, where there is no trace, takes everything
// and does nothing.
type Span struct{ span trace.Span }

// Current returns the span in a context.
func Current(ctx context.Context) Span {
	if span := trace.SpanFromContext(ctx); span.SpanContext().IsValid() {
		return Span{span}
	}
	return Span{}
}

// Start begins a span below that in the context, and returns a context with it.
// A span is for one goroutine, and has to be ended.
func Start(ctx context.Context, name string) (context.Context, Span) {
	parent := Current(ctx)
	if !parent.Present() {
		return ctx, Span{}
	}
	kind := trace.SpanKindInternal
	switch name {
	case Upstream, Store, KeySource, Attempt:
		kind = trace.SpanKindClient
	}
	ctx, span := parent.span.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(kind))
	return ctx, Span{span}
}

// Present reports whether there is a trace.
func (s Span) Present() bool { return s.span != nil }

// Text sets an attribute. A value that is empty sets none.
func (s Span) Text(key, value string) {
	if s.Present() && value != "" {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// Number sets an attribute.
func (s Span) Number(key string, value int) {
	if s.Present() {
		s.span.SetAttributes(attribute.Int(key, value))
	}
}

// Fail marks the span as failed, for a reason from a closed set: texts of errors
// are for the log.
func (s Span) Fail(reason string) {
	if s.Present() {
		s.span.SetStatus(codes.Error, reason)
	}
}

// End ends the span.
func (s Span) End() {
	if s.Present() {
		s.span.End()
	}
}

// ID returns the id of the trace in hexadecimal digits, "" where there is none.
func ID(ctx context.Context) string {
	if s := Current(ctx); s.Present() {
		return s.span.SpanContext().TraceID().String()
	}
	return ""
}

// Log returns the log with the id of the trace in its lines, under the name that
// it has in Caddy's access log.
func Log(ctx context.Context, log *slog.Logger) *slog.Logger {
	if id := ID(ctx); id != "" {
		return log.With(slog.String("traceID", id))
	}
	return log
}

// header is where a trace passes on (W3C Trace Context, section 3.2).
const header = "traceparent"

// Inject makes the span in a context the parent of what the receiver of a
// request does, if there is a trace. The tracestate, which the caller may have
// sent, is not added: it is not ours to show to others.
func Inject(ctx context.Context, h http.Header) {
	if !Current(ctx).Present() {
		return
	}
	carrier := make(propagation.MapCarrier)
	propagation.TraceContext{}.Inject(ctx, carrier)
	h.Set(header, carrier.Get(header))
}

package tracing

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
)

// A call without a trace pays nothing, and nothing of it is sent or logged.
func TestWithoutATrace(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	sent := http.Header{"Traceparent": {"as it came"}}
	ctx := t.Context()
	work := func() {
		inside, span := Start(ctx, Attempt)
		span.Text(Dispatcher, "push")
		span.Number(Status, http.StatusOK)
		span.Fail("unavailable")
		Inject(inside, sent)
		if ID(inside) != "" || Log(inside, log) != log || Current(inside).Present() {
			t.Error("there is a trace")
		}
		span.End()
	}
	if n := testing.AllocsPerRun(100, work); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got := sent.Get("Traceparent"); len(sent) != 1 || got != "as it came" {
		t.Errorf("sent %v", sent)
	}
}

// A trace goes on where its spans are not sampled, so that all parties agree on
// that. What the caller has in his tracestate stays with him.
func TestAnUnsampledTrace(t *testing.T) {
	state, err := trace.ParseTraceState("vendor=canary")
	if err != nil {
		t.Fatal(err)
	}
	caller := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceState: state})
	ctx, span := Start(trace.ContextWithSpanContext(t.Context(), caller), Upstream)
	defer span.End()
	sent := http.Header{"Traceparent": {"as it came"}}
	Inject(ctx, sent)
	want := "00-01000000000000000000000000000000-0200000000000000-00"
	if got := sent.Values("Traceparent"); len(sent) != 1 || len(got) != 1 || got[0] != want {
		t.Errorf("sent %v, want %s", sent, want)
	}
	var out bytes.Buffer
	Log(ctx, slog.New(slog.NewTextHandler(&out, nil))).Info("dispatched")
	if !strings.Contains(out.String(), "traceID="+caller.TraceID().String()) {
		t.Errorf("logged %s", &out)
	}
}

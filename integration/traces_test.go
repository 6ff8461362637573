package integration

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/device"
	"github.com/oob-dispatch/oob-dispatch/simulator/gateway"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
)

const (
	callersTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan  = "00f067aa0ba902b7"
	traceparent  = "00-" + callersTrace + "-" + callersSpan + "-01"
)

// spans takes what is exported over OTLP/HTTP, as OpenTelemetry defines it.
type spans struct {
	mu  sync.Mutex
	raw bytes.Buffer
	all []*tracepb.Span
}

func (c *spans) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request collectorpb.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, fmt.Sprint(r.URL.Path, err), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.Write(body)
	for _, resource := range request.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			c.all = append(c.all, scope.GetSpans()...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// tree waits for the outermost span of that name, which Caddy makes and ends
// last, and returns those below it, as indented text.
func (c *spans) tree(t *testing.T, traceID, name string) (text string, root *tracepb.Span) {
	t.Helper()
	var parts []*tracepb.Span
	waitFor(t, "the end of a trace with "+name, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, span := range c.all {
			if span.GetName() == name && (traceID == "" || hex.EncodeToString(span.GetTraceId()) == traceID) {
				parts = slices.DeleteFunc(slices.Clone(c.all), func(s *tracepb.Span) bool { return !bytes.Equal(s.GetTraceId(), span.GetTraceId()) })
			}
		}
		i := slices.IndexFunc(parts, func(s *tracepb.Span) bool { return s.GetName() == "handler" })
		if i >= 0 {
			root = parts[i]
		}
		return root != nil
	})
	slices.SortFunc(parts, func(a, b *tracepb.Span) int { return cmp.Compare(a.GetStartTimeUnixNano(), b.GetStartTimeUnixNano()) })
	var out strings.Builder
	var below func(parent []byte, indent string)
	below = func(parent []byte, indent string) {
		for _, span := range parts {
			if bytes.Equal(span.GetParentSpanId(), parent) {
				fmt.Fprintf(&out, "%s%s\n", indent, describe(span))
				below(span.GetSpanId(), indent+"\t")
			}
		}
	}
	below(root.GetSpanId(), "")
	return out.String(), root
}

func describe(span *tracepb.Span) string {
	text := span.GetName()
	for _, attribute := range span.GetAttributes() {
		value := attribute.GetValue()
		text += " " + strings.TrimPrefix(attribute.GetKey(), "oob.") + "=" + value.GetStringValue()
		if status := value.GetIntValue(); status != 0 {
			text += fmt.Sprint(status)
		}
	}
	if span.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR {
		text += " failed: " + span.GetStatus().GetMessage()
	}
	return text
}

// names returns the names of our spans and of their attributes.
func (c *spans) names() (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, span := range c.all {
		if strings.HasPrefix(span.GetName(), "oob.") {
			names = append(names, span.GetName())
			for _, attribute := range span.GetAttributes() {
				names = append(names, attribute.GetKey())
			}
		}
	}
	return names
}

func (c *spans) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.raw.String()
}

// traced is a stack whose spans go to an address.
func traced(t *testing.T, exporter string) (s *stack, sms *gateway.Server, audit string) {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", exporter)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20") // milliseconds
	sms = startGateway(t)
	audit = filepath.Join(testservice.Folder(t), "audit.jsonl")
	records := filepath.Join(t.TempDir(), "records.jsonl")
	must(t, os.WriteFile(records, nil, 0o600))
	return start(t, options{push: "retries 1", site: "tracing", handler: fmt.Sprintf(`
		audit file %s
		key_source file %s
		dispatcher sms webhook {
			url %s/send
			address +41790000001
			base_url https://app.example.com/open
			text "{oob.link}"
		}
		dispatcher push-or-sms fallback {
			try push sms
		}`, audit, records, sms.URL())}), sms, audit
}

func TestTraces(t *testing.T) {
	for name, through := range map[string]func(*testing.T, string) string{
		"from the sidecar":                  func(_ *testing.T, to string) string { return to },
		"through OpenTelemetry's collector": collector,
	} {
		t.Run(name, func(t *testing.T) {
			var received spans
			receiver := httptest.NewServer(&received)
			t.Cleanup(receiver.Close)
			s, sms, audit := traced(t, through(t, receiver.URL))
			p := s.registerAs(device.Options{KeyKind: "P-256", Name: "canary-name"}, device.Registration{})

			s.google.Script(google.Unavailable(""), google.Unavailable(""))
			s.dispatchTraced(callersTrace, "push-or-sms", p.TargetID())
			tree, root := received.tree(t, callersTrace, "oob.dispatch")
			s.wantTree("a dispatch", tree, `
oob.dispatch operation=authentication dispatcher=push-or-sms delivered=sms result=dispatched class=delivered encryption=sealed
	oob.store store_operation=load
	oob.upstream http.response.status_code=200
	oob.seal
	oob.attempt reason=unavailable dispatcher=push dispatcher_type=fcm class=temporary failed: unavailable
	oob.attempt reason=unavailable dispatcher=push dispatcher_type=fcm class=temporary failed: unavailable
	oob.attempt dispatcher=sms dispatcher_type=webhook class=delivered
`)
			if got := hex.EncodeToString(root.GetParentSpanId()); got != callersSpan {
				t.Errorf("the caller's span is %s, want %s", got, callersSpan)
			}
			s.modify(p, device.Change{Name: "another canary-name"})
			tree, root = received.tree(t, "", "oob.modify_target")
			s.wantTree("a modification", tree, `
oob.modify_target
	oob.store store_operation=update
	oob.upstream http.response.status_code=204
	oob.store store_operation=update
`)
			requests, message := s.nevis.Requests(), sms.Messages()[0]

			const unknownTarget = "5bf92f3577b34da6a3ce929d0e0e4736"
			s.dispatchTraced(unknownTarget, "push", "canary-unknown-target")
			tree, _ = received.tree(t, unknownTarget, "oob.dispatch")
			s.wantTree("a dispatch to nobody", tree, `
oob.dispatch operation=authentication dispatcher=push result=dispatchTargetNotFound class=refused reason=upstream_declined failed: upstream_declined
	oob.store store_operation=load
	oob.key_source source=file
	oob.upstream http.response.status_code=200
	oob.store store_operation=update
`)
			s.changeDevice(p, http.MethodPatch)
			tree, _ = received.tree(t, "", "oob.modify_device")
			s.wantTree("a change of a device", tree, `
oob.modify_device
	oob.store store_operation=load
	oob.store store_operation=update
	oob.upstream http.response.status_code=204
	oob.store store_operation=update
`)

			// The receivers' spans are below ours.
			for _, r := range []struct {
				header http.Header
				trace  string
				parent string
			}{
				{requests[len(requests)-2].Header, callersTrace, "oob.upstream"},
				{message.Header, callersTrace, "oob.attempt"},
				{requests[len(requests)-1].Header, hex.EncodeToString(root.GetTraceId()), "oob.upstream"},
			} {
				if got := received.named(r.header.Get("Traceparent"), r.trace); got != r.parent {
					t.Errorf("%s is below %q, want a span %s", r.header.Get("Traceparent"), got, r.parent)
				}
			}
			if state := message.Header.Get("Tracestate"); state != "" {
				t.Errorf("the webhook gets the caller's tracestate %q", state)
			}

			for event, id := range map[string]string{"dispatch": callersTrace, "modified": hex.EncodeToString(root.GetTraceId())} {
				waitFor(t, "the trace id in the audit line of "+event, func() bool {
					content, _ := os.ReadFile(audit)
					return strings.Contains(lineWith(string(content), `"event":"`+event+`"`), `"trace_id":"`+id+`"`)
				})
			}
			for _, line := range []string{`"msg":"dispatched"`, `"msg":"an attempt at a delivery failed"`, `"msg":"falling back"`} {
				if len(logged.lines(line, `"traceID":"`+callersTrace+`"`)) == 0 {
					t.Errorf("no line %s with the trace id", line)
				}
			}
			if len(logged.lines(`"event":"modified"`, `"traceID":"`)) == 0 {
				t.Error("no line of the modification with a trace id")
			}

			documented, err := os.ReadFile("../docs/tracing.md")
			must(t, err)
			for _, name := range received.names() {
				if !strings.Contains(string(documented), "`"+name+"`") {
					t.Errorf("docs/tracing.md does not tell of %s", name)
				}
			}
		})
	}
}

func (s *stack) wantTree(of, got, want string) {
	s.t.Helper()
	if want = strings.TrimPrefix(want, "\n"); got != want {
		s.t.Errorf("the trace of %s is\n%s\nwant\n%s", of, got, want)
	}
}

// dispatchTraced makes the relying party's call within a trace of its own.
func (s *stack) dispatchTraced(trace, dispatcher, target string) answer {
	s.t.Helper()
	r := s.send(http.MethodPost, dispatchPath+string(nevisfido.Authentication), request(nevisfido.Authentication, dispatcher, target),
		"Content-Type", jsonType, "Traceparent", "00-"+trace+"-"+callersSpan+"-01", "Tracestate", "vendor=canary")
	a := answer{reply: r}
	if err := json.Unmarshal(r.body, &a); err != nil {
		s.t.Fatalf("%v: %s", err, r)
	}
	return a
}

// named returns the name of the span in a traceparent, "" for none of that trace.
func (c *spans) named(traceparent, traceID string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, span := range c.all {
		if traceparent == "00-"+traceID+"-"+hex.EncodeToString(span.GetSpanId())+"-01" {
			return span.GetName()
		}
	}
	return ""
}

func lineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return line
		}
	}
	return ""
}

// A collector that is away costs no dispatch.
func TestTracesToNobody(t *testing.T) {
	s, _, _ := traced(t, "http://127.0.0.1:1")
	p := s.register("P-256")
	s.take(p, nevisfido.Authentication, "push")
}

// Without Caddy's tracing the caller's header is none of our business, whatever
// it holds, and nobody else gets it.
func TestWithoutTracing(t *testing.T) {
	s, sms, audit := traced(t, "http://127.0.0.1:1")
	s.config = strings.Replace(s.config, "\ntracing\n", "\n", 1)
	s.load()
	p := s.register("P-256")
	for _, header := range []string{traceparent, "00-" + strings.ToUpper(callersTrace) + "-x"} {
		s.send(http.MethodPost, dispatchPath+string(nevisfido.Authentication), request(nevisfido.Authentication, "sms", p.TargetID()),
			"Content-Type", jsonType, "Traceparent", header)
		requests := s.nevis.Requests()
		if got := requests[len(requests)-1].Header.Values("Traceparent"); len(got) != 1 || got[0] != header {
			t.Errorf("nevisFIDO gets %q, want %q", got, header)
		}
	}
	messages := sms.Messages()
	if len(messages) != 2 || messages[0].Header.Get("Traceparent") != "" {
		t.Errorf("the webhook gets %v", messages)
	}
	waitFor(t, "an audit line", func() bool {
		content, _ := os.ReadFile(audit)
		return lineWith(string(content), `"event":"dispatch"`) != ""
	})
	content, err := os.ReadFile(audit)
	if err != nil || strings.Contains(string(content), "trace_id") || len(logged.lines(`"traceID"`)) > 0 {
		t.Errorf("there is a trace id in log or audit: %v", err)
	}
}

// collector runs OpenTelemetry's collector, which hands on what it gets, and
// returns its address.
func collector(t *testing.T, to string) string {
	t.Helper()
	testservice.Slow(t, "OpenTelemetry's collector is built")
	dir := testservice.Folder(t)
	program, config := filepath.Join(dir, "collector"), filepath.Join(dir, "config.yaml")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, ".")
	build.Dir = "collector"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the collector: %v\n%s", err, out)
	}
	address := testservice.FreeAddress(t)
	if err := os.WriteFile(config, fmt.Appendf(nil, `
receivers: {otlp: {protocols: {http: {endpoint: %q}}}}
exporters: {otlp_http: {endpoint: %q, compression: none}}
service:
  telemetry: {metrics: {level: none}, logs: {level: warn}}
  pipelines: {traces: {receivers: [otlp], exporters: [otlp_http]}}
`, address, to), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	run := exec.CommandContext(t.Context(), program, "--config", "file:"+config)
	run.Stdout, run.Stderr = &log, &log
	must(t, run.Start())
	t.Cleanup(func() {
		_ = run.Process.Kill()
		_ = run.Wait()
		if t.Failed() {
			t.Logf("the collector: %s", &log)
		}
	})
	waitFor(t, "OpenTelemetry's collector", func() bool {
		connection, err := net.Dial("tcp", address)
		if err == nil {
			connection.Close()
		}
		return err == nil
	})
	return "http://" + address
}

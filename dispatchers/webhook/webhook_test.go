package webhook

import (
	"encoding/json"
	"encoding/pem"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/gateway"
	"github.com/oob-dispatch/oob-dispatch/simulator/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret      = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	otherSecret = "whsec_b3RoZXIgc2VjcmV0IG9mIDMyIGJ5dGVzIGluIGFsbCE="
	sealed      = dispatcherstest.Sealed
	mobile      = "+41790000001"
	password    = "s3cret-password"
)

func startGateway(t *testing.T, o gateway.Options) *gateway.Server {
	t.Helper()
	s, err := gateway.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// load provisions a dispatcher as a configuration does.
func load(t *testing.T, options map[string]any) (*Webhook, error) {
	t.Helper()
	return dispatcherstest.Load[*Webhook](t, "webhook", options)
}

// newDispatcher loads a dispatcher that sends to a URL; more adds options.
func newDispatcher(t *testing.T, url string, more map[string]any) *Webhook {
	t.Helper()
	options := map[string]any{"url": url}
	maps.Copy(options, more)
	w, err := load(t, options)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// message is a sealed message; values are those of its placeholders.
func message(values map[string]string) *dispatchers.Message {
	const link = "https://app.example.com/open?dispatchTokenResponse=eyJ9"
	all := map[string]string{"oob.link": link}
	maps.Copy(all, values)
	m := dispatcherstest.Message(mobile, all)
	m.Dispatcher, m.Link, m.Expires = "sms.ch", link, time.Date(2026, 11, 24, 12, 0, 0, 5, time.UTC)
	return m
}

// wantFailure wants an error that tells neither the address, the message nor a
// credential.
func wantFailure(t *testing.T, err error, class dispatchers.Class, reason string) dispatchers.Error {
	t.Helper()
	return dispatcherstest.WantFailure(t, err, class, reason,
		"canary", mobile, mobile[1:], password, secret, "dispatchTokenResponse")
}

func TestDefaultBody(t *testing.T) {
	s := startGateway(t, gateway.Options{})
	w := newDispatcher(t, s.URL()+"/messages", map[string]any{"text": "Confirm: {oob.link}"})
	if n := len(s.Requests()); n != 0 {
		t.Fatalf("provisioning made %d requests", n)
	}
	receipt, err := w.Dispatch(t.Context(), message(map[string]string{
		"oob.notification.title": `Pay "ACME"`, "oob.notification.body": "CHF 5\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if receipt.Response != dispatchers.SuccessfulDispatch {
		t.Errorf("response %v", receipt.Response)
	}
	got, err := s.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"3q2-7wAAAAAAAAAAAAAAAA_sms~ch","operation":"authentication","dispatcher":"sms.ch","address":"+41790000001",` +
		`"title":"Pay \"ACME\"","body":"CHF 5\n","text":"Confirm: https://app.example.com/open?dispatchTokenResponse=eyJ9",` +
		`"link":"https://app.example.com/open?dispatchTokenResponse=eyJ9","expires":"2026-11-24T12:00:00Z",` +
		`"message":{"nma_data":"` + sealed + `","nma_data_content_type":"application/jose","nma_data_version":"1"}}`
	if string(got.Body) != want {
		t.Errorf("got  %s\nwant %s", got.Body, want)
	}
	if got.Method != http.MethodPost || got.URI != "/messages" || got.Header.Get("Content-Type") != "application/json" || got.Header.Get("Idempotency-Key") != "3q2-7wAAAAAAAAAAAAAAAA_sms~ch" {
		t.Errorf("got %s %s %v", got.Method, got.URI, got.Header)
	}
}

// What another message leaves out of the default body, or has in it.
func TestDefaultBodyOfOtherMessages(t *testing.T) {
	for name, tc := range map[string]struct {
		change     func(*dispatchers.Message)
		with, sans []string
	}{
		"a short link": {
			func(m *dispatchers.Message) { m.Link, m.LinkShort = "https://fido.example.com/oob/x", true },
			[]string{"link", "expires"},
			[]string{"message", "target_id", "username"},
		},
		"a notice": {
			func(m *dispatchers.Message) { m.Envelope, m.Link, m.Address = nevisfido.Envelope{}, "", "" },
			[]string{"target_id", "device_id", "username", "operation"},
			[]string{"message", "expires", "link", "title"},
		},
		"one that has no more than its payload": {
			func(m *dispatchers.Message) { m.Address, m.Link, m.Expires, m.Lookup = "", "", time.Time{}, nil },
			[]string{"message"},
			[]string{"address", "title", "body", "text", "link", "expires"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := startGateway(t, gateway.Options{})
			w := newDispatcher(t, s.URL(), nil)
			m := message(map[string]string{"oob.target_id": "t", "oob.device_id": "d", "oob.username": "u", "oob.notification.title": "Pay"})
			tc.change(m)
			if _, err := w.Dispatch(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			got, err := s.Wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			body := make(map[string]any)
			if err := json.Unmarshal(got.Body, &body); err != nil {
				t.Fatal(err)
			}
			for _, member := range tc.with {
				if body[member] == nil {
					t.Errorf("no %s in %s", member, got.Body)
				}
			}
			for _, member := range tc.sans {
				if body[member] != nil {
					t.Errorf("%s in %s", member, got.Body)
				}
			}
		})
	}
}

func TestSignatures(t *testing.T) {
	s := startGateway(t, gateway.Options{Secrets: []string{secret}})
	for name, c := range map[string]struct {
		secrets []string
		class   dispatchers.Class
	}{
		"the key":             {[]string{secret}, ""},
		"the key and the new": {[]string{otherSecret, secret}, ""},
		"another key":         {[]string{otherSecret}, dispatchers.Refused},
		"no key":              {nil, dispatchers.Refused},
	} {
		w := newDispatcher(t, s.URL(), map[string]any{"secrets": c.secrets})
		_, err := w.Dispatch(t.Context(), message(nil))
		if c.class == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c.class != "" {
			wantFailure(t, err, c.class, dispatchers.ReasonUnauthorized)
		}
	}
}

// The example of the Standard Webhooks specification.
func TestSignatureExample(t *testing.T) {
	key, err := parseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	other, err := parseSecret(otherSecret)
	if err != nil {
		t.Fatal(err)
	}
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	h := http.Header{}
	sign(h, [][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 999), []byte(`{"test": 2432232314}`))
	if h.Get("webhook-signature") != want || h.Get("webhook-timestamp") != "1614265330" || h.Get("webhook-id") != "msg_p5jXN8AQM9LWM0D4loKWxJek" {
		t.Errorf("got %v", h)
	}
	sign(h, [][]byte{other, key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if first, second, _ := strings.Cut(h.Get("webhook-signature"), " "); second != want || first == want {
		t.Errorf("got %v", h)
	}
}

func TestIDIsTheSameForEveryAttempt(t *testing.T) {
	s := startGateway(t, gateway.Options{Secrets: []string{secret}})
	w := newDispatcher(t, s.URL(), map[string]any{"secrets": []string{secret}})
	s.Script(fault.ResetAfterDelivery, fault.Echo(503, nil))
	for i, want := range []dispatchers.Class{dispatchers.Temporary, dispatchers.Temporary, ""} {
		_, err := w.Dispatch(t.Context(), message(nil))
		if want == "" && err != nil || want != "" && dispatchers.AsError(err).Class != want {
			t.Errorf("attempt %d: %v", i, err)
		}
	}
	other := message(nil)
	other.Dispatcher = "other"
	if _, err := w.Dispatch(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	requests := s.Requests()
	if len(requests) != 4 || s.Duplicates() != 1 || len(s.Messages()) != 2 {
		t.Fatalf("%d requests, %d duplicates, %d messages", len(requests), s.Duplicates(), len(s.Messages()))
	}
	for i, r := range requests {
		if r.Header.Get("Idempotency-Key") != r.Header.Get("webhook-id") || (r.Header.Get("Idempotency-Key") == requests[0].Header.Get("Idempotency-Key")) != (i < 3) {
			t.Errorf("request %d: ids %s and %s", i, r.Header.Get("Idempotency-Key"), r.Header.Get("webhook-id"))
		}
	}
}

func TestAnswers(t *testing.T) {
	s := startGateway(t, gateway.Options{})
	w := newDispatcher(t, s.URL(), nil)
	for status, want := range map[int]struct {
		class  dispatchers.Class
		reason string
	}{
		200: {}, 201: {}, 202: {}, 204: {}, 299: {},
		301: {dispatchers.Refused, dispatchers.ReasonRedirect},
		400: {dispatchers.Refused, dispatchers.ReasonRejected},
		401: {dispatchers.Refused, dispatchers.ReasonUnauthorized},
		403: {dispatchers.Refused, dispatchers.ReasonUnauthorized},
		404: {dispatchers.Refused, dispatchers.ReasonNotFound},
		407: {dispatchers.Broken, "proxy"},
		408: {dispatchers.Temporary, "timeout"},
		410: {dispatchers.Refused, reasonGone},
		413: {dispatchers.Refused, dispatchers.ReasonTooBig},
		429: {dispatchers.Temporary, dispatchers.ReasonRateLimited},
		500: {dispatchers.Temporary, dispatchers.ReasonUnavailable},
		799: {dispatchers.Refused, dispatchers.ReasonUnexpectedStatus},
	} {
		s.Script(fault.Echo(status, http.Header{"Retry-After": {"7"}, "Location": {"/elsewhere"}}))
		before := len(s.Requests())
		_, err := w.Dispatch(t.Context(), message(nil))
		if n := len(s.Requests()) - before; n != 1 {
			t.Errorf("%d: %d requests", status, n)
		}
		if want.class == "" {
			if err != nil {
				t.Errorf("%d: %v", status, err)
			}
			continue
		}
		e := wantFailure(t, err, want.class, want.reason)
		if (e.RetryAfter == 7*time.Second) != (want.class == dispatchers.Temporary) {
			t.Errorf("%d: wait %s", status, e.RetryAfter)
		}
	}
}

func TestConfiguredStatuses(t *testing.T) {
	s := startGateway(t, gateway.Options{})
	success := newDispatcher(t, s.URL(), map[string]any{"success": []string{"202", "409"}})
	fours := newDispatcher(t, s.URL(), map[string]any{"success": []string{"2xx", "4xx"}})
	goneToo := newDispatcher(t, s.URL(), map[string]any{"gone": []string{"410", "422"}})
	for _, c := range []struct {
		w      *Webhook
		status int
		class  dispatchers.Class
		reason string
	}{
		{success, 202, "", ""},
		{success, 409, "", ""},
		{success, 200, dispatchers.Refused, dispatchers.ReasonUnexpectedStatus},
		{success, 204, dispatchers.Refused, dispatchers.ReasonUnexpectedStatus},
		{success, 400, dispatchers.Refused, dispatchers.ReasonRejected},
		{fours, 299, "", ""},
		{fours, 400, "", ""},
		{fours, 499, "", ""},
		{fours, 500, dispatchers.Temporary, dispatchers.ReasonUnavailable},
		{goneToo, 410, dispatchers.Expired, reasonGone},
		{goneToo, 422, dispatchers.Expired, reasonGone},
		{goneToo, 404, dispatchers.Refused, dispatchers.ReasonNotFound},
	} {
		s.Script(fault.Echo(c.status, nil))
		_, err := c.w.Dispatch(t.Context(), message(nil))
		if c.class != "" {
			wantFailure(t, err, c.class, c.reason)
		} else if err != nil {
			t.Errorf("%d: %v", c.status, err)
		}
	}
}

// Nothing that a target, a request or an answer says leads elsewhere.
func TestWebhookNoSSRF(t *testing.T) {
	var hits atomic.Int64
	internal := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	internal.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			hits.Add(1)
		}
	}
	internal.Start()
	defer internal.Close()
	host := strings.TrimPrefix(internal.URL, "http://")

	s := startGateway(t, gateway.Options{})
	w := newDispatcher(t, s.URL()+"/send/{webhook.address}/x?to={oob.data.to}", nil)
	for _, status := range []int{301, 302, 303, 307, 308} {
		s.Script(fault.Echo(status, http.Header{"Location": {internal.URL}}))
		_, err := w.Dispatch(t.Context(), message(nil))
		wantFailure(t, err, dispatchers.Refused, dispatchers.ReasonRedirect)
	}
	for _, value := range []string{
		internal.URL, "//" + host + "/", "@" + host, "\\\\" + host, "#@" + host, "?x=" + internal.URL, "\r\nHost: " + host, "%0d%0aHost:%20" + host,
		"x HTTP/1.1\r\nHost: " + host + "\r\n\r\nPOST /", "{env.HOME}", ".", "..", "../..", `..\..`, "a/../../b", "%2e%2e",
	} {
		m := message(map[string]string{"oob.data.to": value})
		m.Address = value
		before := len(s.Requests())
		if _, err := w.Dispatch(t.Context(), m); err != nil {
			if e := dispatchers.AsError(err); e.Class != dispatchers.Refused || e.Reason != reasonBadValue {
				t.Errorf("%q: %v", value, err)
			}
			continue
		}
		r := s.Requests()[before]
		if !strings.HasPrefix(r.URI, "/send/") || strings.Count(r.URI, "/") != 3 || !strings.Contains(r.URI, "/x?to=") || strings.Count(r.URI, "?") != 1 {
			t.Errorf("%q: URI %s", value, r.URI)
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("the internal server was contacted %d times", n)
	}
}

func caFile(t *testing.T, server *httptest.Server) string {
	t.Helper()
	return testservice.File(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

func TestProxy(t *testing.T) {
	p, err := proxy.Start(proxy.Options{User: "u", Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	w := newDispatcher(t, server.URL, map[string]any{"ca": caFile(t, server), "proxy": p.URL()})
	if _, err := w.Dispatch(t.Context(), message(nil)); err != nil {
		t.Fatal(err)
	}
	if c := p.Counts(); c.Connects != 1 {
		t.Errorf("%+v", c)
	}
	if err := w.Cleanup(); err != nil {
		t.Fatal(err)
	}
	p.Refuse(http.StatusForbidden)
	_, err = w.Dispatch(t.Context(), message(nil))
	wantFailure(t, err, dispatchers.Broken, "proxy")
}

package webhook

import (
	"net/http"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/gateway"
)

// Gateways that say no with a status of success; see also TestRecipes.
func TestBodiesThatTell(t *testing.T) {
	const delivered = dispatchers.Delivered
	aspsms := map[string]any{"success_body": `<ErrorCode>1</ErrorCode>`}
	central := map[string]any{"failure_body": []map[string]string{{"match": `^513\b`, "class": "no_target"}, {"match": `^5\d\d\b`}}}
	s := startGateway(t, gateway.Options{})
	for _, tc := range []struct {
		options map[string]any
		status  int
		body    string
		want    dispatchers.Class
	}{
		{aspsms, 503, `<ErrorCode>1</ErrorCode>`, dispatchers.Temporary},
		{aspsms, 200, `<aspsms><ErrorCode>1</ErrorCode></aspsms>`, delivered},
		{aspsms, 200, `<aspsms><ErrorCode>3</ErrorCode></aspsms>`, dispatchers.Refused},
		{central, 200, "0", delivered},
		{central, 200, "513 canary", dispatchers.NoTarget},
		{central, 200, "501 canary", dispatchers.Refused},
		// What is there of a body that is too large counts.
		{aspsms, 200, `<ErrorCode>1</ErrorCode>` + strings.Repeat("x", 1<<20), delivered},
		{aspsms, 200, strings.Repeat("x", 1<<20) + `<ErrorCode>1</ErrorCode>`, dispatchers.Refused},
	} {
		w := newDispatcher(t, s.URL(), tc.options)
		s.Script(fault.Answer(tc.status, nil, tc.body))
		switch _, err := w.Dispatch(t.Context(), message(nil)); {
		case tc.want == delivered:
			if err != nil {
				t.Errorf("%.60s: %v", tc.body, err)
			}
		case tc.status != 200:
			wantFailure(t, err, tc.want, dispatchers.ReasonUnavailable)
		default:
			wantFailure(t, err, tc.want, reasonBody)
		}
	}
}

// A body that ends too early does not count as one that tells success.
func TestHalfABody(t *testing.T) {
	s := startGateway(t, gateway.Options{})
	s.Script(fault.Answer(http.StatusOK, http.Header{"Content-Length": {"100"}}, "OK"))
	_, err := newDispatcher(t, s.URL(), map[string]any{"success_body": "OK"}).Dispatch(t.Context(), message(nil))
	wantFailure(t, err, dispatchers.Temporary, "connection")
}

// Requests without a body, and what Go's transport does where a kept connection
// ends before the answer: it would repeat a GET, and one with Idempotency-Key.
func TestRequestsWithoutBody(t *testing.T) {
	s := startGateway(t, gateway.Options{})
	for name, options := range map[string]map[string]any{
		"GET":        {"method": "GET"},
		"empty POST": {"body": ""},
		"POST":       {},
	} {
		options["text"] = "Code {oob.data.code}"
		w := newDispatcher(t, s.URL()+"/send?to={webhook.address}&text={webhook.text}", options)
		got := send(t, s, w, message(map[string]string{"oob.data.code": "a&b c"}))
		if got.URI != "/send?to=%2B41790000001&text=Code%20a%26b%20c" || got.Header.Get("Idempotency-Key") == "" || got.Header.Get("webhook-id") != got.Header.Get("Idempotency-Key") {
			t.Errorf("%s: %s %s %v", name, got.Method, got.URI, got.Header)
		}
		if empty := len(got.Body) == 0 && got.Header.Get("Content-Type") == ""; empty != (name != "POST") {
			t.Errorf("%s: %v %q", name, got.Header, got.Body)
		}
		before := len(s.Requests())
		s.Script(fault.Reset)
		_, err := w.Dispatch(t.Context(), message(nil))
		wantFailure(t, err, dispatchers.Temporary, "connection")
		if n := len(s.Requests()) - before; n != 1 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}

func TestHeaderNames(t *testing.T) {
	s := startGateway(t, gateway.Options{})
	w := newDispatcher(t, s.URL(), map[string]any{
		"headers": map[string]string{"client_id": "abc", "SCS.Version!": "2", "content-type": "text/plain"}, "body": "{oob.data.x}",
	})
	got := send(t, s, w, message(map[string]string{"oob.data.x": `a"b`}))
	if got.Header.Get("client_id") != "abc" || got.Header.Get("SCS.Version!") != "2" {
		t.Errorf("headers %v", got.Header)
	}
	if got.Header.Get("Content-Type") != "text/plain" || string(got.Body) != `a"b` {
		t.Errorf("%s: %s", got.Header.Get("Content-Type"), got.Body)
	}
}

func TestLatin1(t *testing.T) {
	s := startGateway(t, gateway.Options{})
	for media, tc := range map[string]struct{ body, want string }{
		"text/xml; charset=ISO-8859-1":                          {"<a>é {oob.data.x}</a>", "<a>\xe9 Z\xfcrich &lt;&#8364;&#128512;</a>"},
		"application/x-www-form-urlencoded; charset=iso-8859-1": {"t={oob.data.x}", "t=Z%FCrich+%3C%3F%3F"},
		"text/plain; charset=iso-8859-1":                        {"é {oob.data.x}", "\xe9 Z\xfcrich <??"},
	} {
		w := newDispatcher(t, s.URL(), map[string]any{"content_type": media, "body": tc.body})
		if got := send(t, s, w, message(map[string]string{"oob.data.x": "Zürich <€😀"})); string(got.Body) != tc.want || got.Header.Get("Content-Type") != media {
			t.Errorf("%s: got %q, want %q", media, got.Body, tc.want)
		}
	}
}

// Values of the environment are escaped for their place as those of requests
// are; what comes before the path is taken as it is.
func TestEnvironmentInTheURL(t *testing.T) {
	s := startGateway(t, gateway.Options{})
	t.Setenv("OOB_TEST_BASE", s.URL()+"/v1?tenant=a%20b")
	t.Setenv("OOB_TEST_HOST", strings.TrimPrefix(s.URL(), "http://"))
	t.Setenv("OOB_TEST_PASSWORD", "p&a=s#s w?/%41")
	const escaped = "p%26a%3Ds%23s%20w%3F%2F%2541"
	for url, want := range map[string]string{
		"{env.OOB_TEST_BASE}": "/v1?tenant=a%20b",
		"http://{env.OOB_TEST_HOST}/{env.OOB_TEST_PASSWORD}/x":  "/" + escaped + "/x",
		s.URL() + "/x?p={env.OOB_TEST_PASSWORD}&q={oob.data.x}": "/x?p=" + escaped + "&q=1",
		"{env.OOB_TEST_BASE}&q={oob.data.x}":                    "/v1?tenant=a%20b&q=1",
		"{env.OOB_TEST_BASE}?&p={env.OOB_TEST_PASSWORD}":        "/v1?tenant=a%20b?&p=" + escaped,
	} {
		if got := send(t, s, newDispatcher(t, url, nil), message(map[string]string{"oob.data.x": "1"})); got.URI != want {
			t.Errorf("%s: got %s, want %s", url, got.URI, want)
		}
	}
}

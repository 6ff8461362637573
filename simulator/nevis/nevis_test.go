package nevis

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
)

// clock is a clock that only the test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newClock() *clock { return &clock{time.Date(2026, 11, 2, 9, 30, 0, 0, time.UTC)} }

// client talks to a started server.
type client struct {
	t       *testing.T
	address string
}

func start(t *testing.T, o Options) (*Server, *client) {
	t.Helper()
	s := New(o)
	address, err := s.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, &client{t, address}
}

// reply is an answer; members is nil where the body is no JSON object.
type reply struct {
	status  int
	header  http.Header
	body    string
	members members
}

func (c *client) do(method, path, body string, header http.Header) reply {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.address+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	m, _ := parse(got)
	return reply{response.StatusCode, response.Header, string(got), m}
}

func (c *client) post(path, body string) reply {
	c.t.Helper()
	return c.do(http.MethodPost, path, body, http.Header{"Content-Type": {mediaJSON}})
}

func (c *client) postUAF(path, body string) reply {
	c.t.Helper()
	return c.do(http.MethodPost, path, body, http.Header{"Content-Type": {mediaUAF + ";charset=UTF-8"}})
}

// text returns a member that is a string, or fails the test.
func (c *client) text(m members, name string) string {
	c.t.Helper()
	s, err := m.text(name)
	if err != nil || s == "" {
		c.t.Fatalf("member %s: %q, %v", name, s, err)
	}
	return s
}

const dispatchAuth = "/nevisfido/token/dispatch/authentication"

// authBody is a dispatch request with the members given as JSON text.
func authBody(extra string) string {
	if extra != "" {
		extra += ","
	}
	return `{` + extra + `"getUafRequest":{"op":"Auth","context":"{\"username\":\"jeff\"}"}}`
}

// register creates a target for jeff and returns its id.
func (c *client) register(name, extra string) string {
	c.t.Helper()
	got := c.post("/nevisfido/token/dispatch/targets/", `{"username":"jeff","name":"`+name+`"`+extra+`}`)
	if got.status != http.StatusCreated {
		c.t.Fatalf("creating a target: %d", got.status)
	}
	return c.text(got.members, "id")
}

func keyMember(t *testing.T, name, kind string) (string, *devicekey.PrivateKey) {
	t.Helper()
	key, err := devicekey.GenerateKey(kind)
	if err != nil {
		t.Fatal(err)
	}
	return `,"` + name + `":` + string(key.Public().JWK()), key
}

// content takes a link apart and returns the envelope's members.
func (c *client) content(link string) members {
	c.t.Helper()
	_, encoded, ok := strings.Cut(link, "dispatchTokenResponse=")
	if !ok {
		c.t.Fatalf("no link: %.20s", link)
	}
	e, err := nevisfido.DecodeEnvelope(encoded)
	if err != nil {
		c.t.Fatal(err)
	}
	m, err := parse(e.JSON())
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

func (c *client) information(m members) (name, response string) {
	c.t.Helper()
	info, err := m.object("dispatcherInformation")
	if err != nil || info == nil {
		c.t.Fatalf("no dispatcherInformation: %v", err)
	}
	return c.text(info, "name"), c.text(info, "response")
}

func TestStatusCodesOfTheDispatchTokenService(t *testing.T) {
	_, c := start(t, Options{Authorization: "Basic amVmZjp0b2tlbg=="})
	link := `"dispatcher":"link"`
	tests := []struct {
		name   string
		method string // default POST
		path   string // default dispatchAuth
		header map[string]string
		body   string // default a good one
		want   int
	}{
		{name: "a good request", want: 200},
		{name: "trailing slash", path: dispatchAuth + "/", want: 200},
		{name: "charset", header: map[string]string{"Content-Type": "application/json; charset=utf-8"}, want: 200},
		{name: "Accept anything", header: map[string]string{"Accept": "*/*"}, want: 200},
		{name: "Accept of a family", header: map[string]string{"Accept": "text/html, application/*;q=0.2"}, want: 200},
		{name: "path parameter", path: "/nevisfido;v=1/token//dispatch/./authentication", want: 200},
		{name: "an operation that is not", path: "/nevisfido/token/dispatch/transfer", want: 404},
		{name: "another base path", path: "/fido/token/dispatch/authentication", want: 404},
		{name: "letter case", path: "/nevisfido/Token/dispatch/authentication", want: 404},
		{name: "not authenticated", header: map[string]string{"Authorization": "Basic eA=="}, want: 401},
		{name: "method", method: "PUT", want: 405},
		{name: "Accept without JSON", header: map[string]string{"Accept": "text/html"}, want: 406},
		{name: "Accept that forbids JSON", header: map[string]string{"Accept": "application/json;q=0, */*"}, want: 406},
		{name: "no media type", header: map[string]string{"Content-Type": ""}, want: 415},
		{name: "another media type", header: map[string]string{"Content-Type": "text/plain"}, want: 415},
		{name: "another charset", header: map[string]string{"Content-Type": "application/json;charset=utf-16"}, want: 415},
		{name: "empty", body: " ", want: 400},
		{name: "not JSON", body: "{", want: 400},
		{name: "null", body: "null", want: 400},
		{name: "not UTF-8", body: authBody(`"x":"` + "\xff" + `"`), want: 400},
		{name: "dispatcher of another type", body: authBody(`"dispatcher":4`), want: 400},
		{name: "target of another type", body: authBody(link + `,"dispatchTargetId":{}`), want: 400},
		{name: "information of another type", body: authBody(link + `,"dispatchInformation":[]`), want: 400},
		{name: "data of another type", body: authBody(link + `,"dispatchInformation":{"data":[]}`), want: 400},
		{name: "no getUafRequest", body: `{"dispatcher":"link"}`, want: 400},
		{name: "op of another operation", body: `{"dispatcher":"link","getUafRequest":{"op":"Reg"}}`, want: 400},
		{name: "context as an object", body: `{"dispatcher":"link","getUafRequest":{"op":"Auth","context":{"username":"jeff"}}}`, want: 400},
		{name: "context without a username", body: `{"dispatcher":"link","getUafRequest":{"op":"Auth"}}`, want: 200},
		{name: "information as text", body: authBody(link + `,"dispatchInformation":"{\"data\":{}}"`), want: 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			header := http.Header{"Content-Type": {mediaJSON}, "Authorization": {"Basic amVmZjp0b2tlbg=="}}
			for name, value := range tt.header {
				header.Set(name, value)
			}
			method, path, body := tt.method, tt.path, tt.body
			if method == "" {
				method = http.MethodPost
			}
			if path == "" {
				path = dispatchAuth
			}
			if body == "" {
				body = authBody(link)
			}
			if got := c.do(method, path, body, header); got.status != tt.want {
				t.Errorf("got %d, want %d", got.status, tt.want)
			}
		})
	}
}

func TestDispatchResults(t *testing.T) {
	s, c := start(t, Options{Users: []string{"jeff", "anna"}, Dispatchers: []string{"link", "firebase-cloud-messaging", "house-mail"}})
	rsa, _ := keyMember(t, "encryptionKey", "RSA-2048")
	full := c.register("full", `,"dispatcher":"link"`+rsa)
	keyless := c.register("keyless", "")
	expired := c.register("expired", rsa)
	s.Expire(expired)

	target := func(id string) string { return `,"dispatchTargetId":"` + id + `"` }
	tests := []struct {
		name, body, want string
	}{
		{"link", authBody(`"dispatcher":"link"`), "dispatched"},
		{"link to a target", authBody(`"dispatcher":"link"` + target(full)), "dispatched"},
		{"push", authBody(`"dispatcher":"firebase-cloud-messaging"` + target(full)), "dispatched"},
		{"a plug-in", authBody(`"dispatcher":"house-mail"` + target(full)), "dispatched"},
		{"the target's own dispatcher", authBody(`"dispatchTargetId":"` + full + `"`), "dispatched"},
		{"no dispatcher at all", authBody(`"dispatchTargetId":"` + keyless + `"`), "dispatcherNotFound"},
		{"a dispatcher of the sidecar", authBody(`"dispatcher":"smtp"`), "dispatcherNotFound"},
		{"a dispatcher that is not configured", authBody(`"dispatcher":"png-qr-code"`), "dispatcherNotFound"},
		{"unknown target", authBody(`"dispatcher":"link"` + target("gone")), "dispatchTargetNotFound"},
		{"push without target", authBody(`"dispatcher":"firebase-cloud-messaging"`), "dispatchTargetNotFound"},
		{"push without key", authBody(`"dispatcher":"firebase-cloud-messaging"` + target(keyless)), "dispatchError"},
		{"expired target", authBody(`"dispatcher":"link"` + target(expired)), "dispatchTargetExpired"},
		{"unknown user", `{"dispatcher":"link","getUafRequest":{"op":"Auth","context":"{\"username\":\"mallory\"}"}}`, "userNotFound"},
		{"target of somebody else", `{"dispatcher":"link","dispatchTargetId":"` + full + `","getUafRequest":{"op":"Auth","context":"{\"username\":\"anna\"}"}}`, "dispatchTargetNotFound"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &client{t, c.address}
			got := c.post(dispatchAuth, tt.body)
			if got.status != http.StatusOK {
				t.Fatalf("got %d, want 200", got.status)
			}
			if result := c.text(got.members, "dispatchResult"); result != tt.want {
				t.Errorf("got %s, want %s", result, tt.want)
			}
			if failed := tt.want != "dispatched"; failed != !got.members.has("token") || failed != !got.members.has("sessionId") {
				t.Error("token and sessionId have to come with a success, and only then")
			}
		})
	}
	if pushes := s.Pushes(); len(pushes) != 1 || pushes[0].DispatchTargetID != full || pushes[0].Data["nma_data_content_type"] != "application/jose" {
		t.Errorf("got %d pushes, want the one to the target with a key", len(pushes))
	}
}

func TestMessageInALink(t *testing.T) {
	_, c := start(t, Options{FrontendURL: "https://id.example.com/", LinkBase: "myapp://open?x=1"})
	tests := []struct {
		name, data, member, want string
	}{
		{"no data", `{}`, "orderNo", ""},
		{"text", `{"data":{"orderNo":"4711"}}`, "orderNo", `"4711"`},
		{"a number keeps its spelling", `{"data":{"amount":10.50}}`, "amount", `10.50`},
		{"JSON within a string", `{"data":"{\"orderNo\":1}"}`, "orderNo", `1`},
		{"plain text", `{"data":"hello"}`, "data", `"hello"`},
		{"the token stays nevisFIDO's", `{"data":{"token":"mine","redeem_url":"https://evil.example"}}`, "redeem_url", `"https://id.example.com/nevisfido/token/redeem/authentication"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &client{t, c.address}
			got := c.post(dispatchAuth, authBody(`"dispatcher":"link","dispatchInformation":`+tt.data))
			name, link := c.information(got.members)
			if name != "link" || !strings.HasPrefix(link, "myapp://open?x=1&dispatchTokenResponse=") {
				t.Fatalf("got dispatcher %s and link %.60s", name, link)
			}
			e := c.content(link)
			if e.has("nma_data_version") && c.text(e, "nma_data_content_type") != "application/json" {
				t.Error("want a message in clear")
			}
			content, err := parse(e["nma_data"])
			if err != nil {
				t.Fatal(err)
			}
			if c.text(content, "token") != c.text(got.members, "token") {
				t.Error("the message has another token than the answer")
			}
			if string(content[tt.member]) != tt.want {
				t.Errorf("member %s is %s, want %s", tt.member, content[tt.member], tt.want)
			}
		})
	}
}

func TestSealing(t *testing.T) {
	tests := []struct {
		name   string
		mode   Mode
		kind   string
		sealed bool
	}{
		{"8.2511 with an RSA key", V8_2511, "RSA-2048", true},
		{"8.2511 with a key that nevisFIDO cannot use", V8_2511, "P-256", false},
		{"LTS21", LTS21, "RSA-2048", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, c := start(t, Options{Mode: tt.mode})
			jwk, key := keyMember(t, "encryptionKey", tt.kind)
			id := c.register("phone", jwk)
			got := c.post(dispatchAuth, authBody(`"dispatcher":"link","dispatchTargetId":"`+id+`"`))
			_, link := c.information(got.members)
			e := c.content(link)
			data, err := e.text("nma_data")
			if sealed := err == nil; sealed != tt.sealed {
				t.Fatalf("sealed: %v, want %v", sealed, tt.sealed)
			}
			if !tt.sealed {
				return
			}
			if c.text(e, "nma_data_content_type") != "application/jose" {
				t.Error("want the content type of a JWE")
			}
			plain, err := key.Open(data)
			if err != nil {
				t.Fatal(err)
			}
			content, err := parse(plain)
			if err != nil || c.text(content, "token") != c.text(got.members, "token") {
				t.Errorf("the sealed token is not the one of the answer (%v)", err)
			}
		})
	}
}

func TestLTS21LacksWhatCameLater(t *testing.T) {
	_, c := start(t, Options{Mode: LTS21})
	got := c.post(dispatchAuth, authBody(`"dispatcher":"link-png-qr-code"`))
	if result := c.text(got.members, "dispatchResult"); result != "dispatcherNotFound" {
		t.Errorf("link-png-qr-code: got %s", result)
	}
	if got := c.do(http.MethodDelete, "/nevisfido/devices/credentials/d1", "", nil); got.status != http.StatusNotFound {
		t.Errorf("device service: got %d", got.status)
	}
}

func TestRequestsAreKeptByteForByte(t *testing.T) {
	s, c := start(t, Options{})
	body := " {\"a\" : 1.0,\r\n\t\"a\":\"\\u00e9\xff\"} "
	path := "/nevisfido/%74oken//dispatch/authentication/;x=1?q=%41&r"
	c.do("PUT", path, body, http.Header{"X-Two": {"1", "2"}, "Content-Type": {"application/json"}})
	got := s.Requests()
	if len(got) != 1 {
		t.Fatalf("got %d requests", len(got))
	}
	r := got[0]
	if r.Method != "PUT" || r.URI != path || string(r.Body) != body || r.ContentLength != int64(len(body)) {
		t.Errorf("got %s %s with %q", r.Method, r.URI, r.Body)
	}
	if two := r.Header.Values("X-Two"); len(two) != 2 || two[0] != "1" || two[1] != "2" {
		t.Errorf("got X-Two %q", two)
	}
}

func TestRequestThatBreaksOff(t *testing.T) {
	s := New(Options{})
	s.Script(HTML())
	r := mustRequest(t, dispatchAuth, "")
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"disp`), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if got := record(s, r); got.status != http.StatusBadRequest {
		t.Errorf("got %d", got.status)
	}
	if got := s.Requests(); len(got) != 1 || string(got[0].Body) != `{"disp` {
		t.Errorf("got %d requests", len(got))
	}
}

func TestCloseRightAfterStart(t *testing.T) {
	s := New(Options{})
	address, err := s.Start()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://")); err == nil {
		conn.Close()
		t.Error("it still listens")
	}
}

func TestServesAsHandlerAndAtRootPath(t *testing.T) {
	s := New(Options{BasePath: "/"})
	w := record(s, mustRequest(t, "/token/dispatch/authentication", authBody(`"dispatcher":"link"`)))
	if w.status != http.StatusOK || !json.Valid(w.body.Bytes()) {
		t.Errorf("got %d", w.status)
	}
	if created, redeemed := s.Tokens(); created != 1 || redeemed != 0 {
		t.Errorf("got %d tokens created, %d redeemed", created, redeemed)
	}
}

func mustRequest(t *testing.T, path, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, path, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", mediaJSON)
	return r
}

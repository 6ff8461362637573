package nevis

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// begin dispatches a link for an operation and returns its token and session.
func (c *client) begin(operation, op string) (token, session string) {
	c.t.Helper()
	got := c.post("/nevisfido/token/dispatch/"+operation,
		`{"dispatcher":"link","getUafRequest":{"op":"`+op+`","context":"{\"username\":\"jeff\",\"transaction\":[{\"contentType\":\"text/plain\",\"content\":\"T0s=\"}]}"}}`)
	return c.text(got.members, "token"), c.text(got.members, "sessionId")
}

func (c *client) redeem(operation, token string) reply {
	c.t.Helper()
	return c.do(http.MethodPost, "/nevisfido/token/redeem/"+operation+"/", `{"token":"`+token+`"}`,
		http.Header{"Content-Type": {mediaJSON}, "Accept": {mediaUAF}})
}

func (c *client) status(session string) reply {
	c.t.Helper()
	return c.post("/nevisfido/status", `{"sessionId":"`+session+`"}`)
}

// respond answers a UAF request at a path, with a context where it is not "".
func (c *client) respond(path string, redeemed members, context string) reply {
	c.t.Helper()
	var messages []struct {
		Header    json.RawMessage `json:"header"`
		Challenge string          `json:"challenge"`
	}
	if err := json.Unmarshal([]byte(c.text(redeemed, "uafRequest")), &messages); err != nil || len(messages) != 1 {
		c.t.Fatalf("the UAF request is not one message: %v", err)
	}
	params := base64.RawURLEncoding.EncodeToString([]byte(`{"challenge":"` + messages[0].Challenge + `"}`))
	response := fmt.Sprintf(`[{"header":%s,"fcParams":%q}]`, messages[0].Header, params)
	body := map[string]string{"uafResponse": response}
	if context != "" {
		body["context"] = context
	}
	return c.postUAF(path, string(encode(body)))
}

func TestSessionOfEachOperation(t *testing.T) {
	tests := []struct {
		operation, op, redeemed, path string
	}{
		{"registration", "Reg", clientRegistering, "/nevisfido/uaf/1.1/registration/"},
		{"authentication", "Auth", clientAuthenticating, "/nevisfido/uaf/1.1/authentication"},
		{"deregistration", "Dereg", succeeded, ""},
	}
	for _, tt := range tests {
		t.Run(tt.operation, func(t *testing.T) {
			s, c := start(t, Options{})
			token, session := c.begin(tt.operation, tt.op)
			if got := c.text(c.status(session).members, "status"); got != tokenCreated {
				t.Errorf("after dispatching: %s", got)
			}
			got := c.redeem(tt.operation, token)
			if media := got.header.Get("Content-Type"); media != "application/fido+uaf;charset=UTF-8" {
				t.Errorf("redeeming answers %s", media)
			}
			if string(got.members["statusCode"]) != "1200" || c.text(got.members, "op") != tt.op || !got.members.has("lifetimeMillis") {
				t.Errorf("redeeming: got %s", got.body)
			}
			if !strings.Contains(c.text(got.members, "uafRequest"), `"content":"T0s="`) {
				t.Error("the UAF request lacks the transaction")
			}
			if got := c.text(c.status(session).members, "status"); got != tt.redeemed {
				t.Errorf("after redeeming: %s, want %s", got, tt.redeemed)
			}
			if tt.path != "" {
				if got := c.respond(tt.path, got.members, ""); got.body != `{"statusCode":1200}` {
					t.Errorf("responding: got %s", got.body)
				}
				if got := c.respond(tt.path, got.members, ""); got.body != `{"statusCode":1491}` {
					t.Errorf("responding twice: got %s", got.body)
				}
			}
			got = c.status(session)
			info, err := got.members.object("tokenInformation")
			if err != nil || c.text(got.members, "status") != succeeded || c.text(info, "tokenResult") != "tokenRedeemed" {
				t.Errorf("at the end: got %s", got.body)
			}
			if name, _ := c.information(info); name != "link" {
				t.Errorf("the status shows the dispatcher %s", name)
			}
			if created, redeemed := s.Tokens(); created != 1 || redeemed != 1 {
				t.Errorf("%d tokens created, %d redeemed", created, redeemed)
			}
		})
	}
}

func TestRedeemRefuses(t *testing.T) {
	clock := newClock()
	s, c := start(t, Options{Now: clock.now})
	used, _ := c.begin("authentication", "Auth")
	c.redeem("authentication", used)
	late, session := c.begin("authentication", "Auth")
	fresh, _ := c.begin("registration", "Reg") // lives longer
	clock.at = clock.at.Add(2*time.Minute + time.Second)

	for _, tt := range []struct {
		name, operation, token string
		code                   string
	}{
		{"a used token", "authentication", used, "1404"},
		{"an unknown token", "authentication", "x", "1404"},
		{"a token of another operation", "deregistration", fresh, "1404"},
		{"a token whose time is over", "authentication", late, "1408"},
		{"none of these", "registration", fresh, "1200"},
	} {
		got := c.redeem(tt.operation, tt.token)
		if got.status != http.StatusOK || string(got.members["statusCode"]) != tt.code {
			t.Errorf("%s: got %d %s, want %s", tt.name, got.status, got.members["statusCode"], tt.code)
		}
	}
	got := c.status(session)
	info, err := got.members.object("tokenInformation")
	if err != nil || c.text(got.members, "status") != failed || c.text(info, "tokenResult") != "tokenTimedOut" {
		t.Errorf("status of the late one: got %s", got.body)
	}
	if created, redeemed := s.Tokens(); created != 3 || redeemed != 2 {
		t.Errorf("%d tokens created, %d redeemed", created, redeemed)
	}
}

func TestStatusCodesOfRedeemAndStatus(t *testing.T) {
	_, c := start(t, Options{})
	redeem, status := "/nevisfido/token/redeem/authentication", "/nevisfido/status/"
	for _, tt := range []struct {
		name, method, path, body string
		header                   http.Header
		want                     int
	}{
		{"redeem by GET", "GET", redeem, "", nil, 405},
		{"redeem as JSON", "POST", redeem, `{"token":"x"}`, http.Header{"Content-Type": {mediaJSON}, "Accept": {mediaJSON}}, 406},
		{"redeem as a form", "POST", redeem, `token=x`, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, 415},
		{"redeem without token", "POST", redeem, `{}`, http.Header{"Content-Type": {mediaJSON}}, 400},
		{"redeem something else", "POST", "/nevisfido/token/redeem/transfer", `{"token":"x"}`, http.Header{"Content-Type": {mediaJSON}}, 404},
		{"status by GET", "GET", status, "", nil, 405},
		{"status without session", "POST", status, `{}`, http.Header{"Content-Type": {mediaJSON}}, 400},
		{"status as a form", "POST", status, `sessionId=1`, http.Header{"Content-Type": {"text/plain"}}, 415},
		{"status of nothing", "POST", status, `{"sessionId":"x"}`, http.Header{"Content-Type": {mediaJSON}}, 200},
		{"facets", "GET", "/nevisfido/uaf/1.1/facets", "", nil, 404},
	} {
		if got := c.do(tt.method, tt.path, tt.body, tt.header); got.status != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got.status, tt.want)
		}
	}
	if got := c.text(c.status("x").members, "status"); got != unknown {
		t.Errorf("status of an unknown session: %s", got)
	}
}

func TestRegistrationCreatesTheTarget(t *testing.T) {
	clock := newClock()
	s, c := start(t, Options{Now: clock.now})
	c.register("taken", "")
	target := func(text string) string { return `{"asmStatusCode":0,"dispatchTarget":` + text + `}` }
	tests := []struct {
		name, context string
		wait          time.Duration
		code, user    string // user of the new target, "" for none
	}{
		{"with a target", target(`{"name":"phone","target":"push","encryptionKey":"{\"kty\":\"RSA\"}"}`), 0, "1200", "jeff"},
		{"without", `{"asmStatusCode":0}`, 0, "1200", ""},
		{"a name that is taken", target(`{"name":"taken"}`), 0, "1498", ""},
		{"no name", target(`{}`), 0, "1498", ""},
		{"a context that is no JSON", `x`, 0, "1498", ""},
		{"too late", target(`{"name":"late"}`), 5*time.Minute + time.Second, "1408", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &client{t, c.address}
			token, session := c.begin("registration", "Reg")
			redeemed := c.redeem("registration", token)
			clock.at = clock.at.Add(tt.wait)
			got := c.respond("/nevisfido/uaf/1.1/registration", redeemed.members, tt.context)
			if got.status != http.StatusOK || string(got.members["statusCode"]) != tt.code {
				t.Fatalf("got %d %s, want %s", got.status, got.body, tt.code)
			}
			want := map[bool]string{true: succeeded, false: failed}[tt.code == "1200"]
			if got := c.text(c.status(session).members, "status"); got != want {
				t.Errorf("the session %s, want %s", got, want)
			}
			if tt.user == "" {
				if got.members.has("description") {
					t.Errorf("got %s, want no description", got.body)
				}
				return
			}
			description, err := got.members.object("description")
			if err != nil {
				t.Fatal(err)
			}
			if stored, ok := s.Target(c.text(description, "dispatchTargetId")); !ok || stored.Username != tt.user || string(stored.EncryptionKey) != `{"kty":"RSA"}` {
				t.Errorf("stored is %+v", stored)
			}
		})
	}
}

func TestUAFResponsesThatAreRefused(t *testing.T) {
	_, c := start(t, Options{})
	token, _ := c.begin("authentication", "Auth")
	redeemed := c.redeem("authentication", token)
	if got := c.respond("/nevisfido/uaf/1.1/registration", redeemed.members, ""); got.body != `{"statusCode":1491}` {
		t.Errorf("a response to another service: got %s", got.body)
	}
	redeemed.members["uafRequest"] = encode(`[{"header":{"op":"Auth"},"challenge":"x"}]`)
	if got := c.respond("/nevisfido/uaf/1.1/authentication", redeemed.members, ""); got.body != `{"statusCode":1491}` {
		t.Errorf("no session: got %s", got.body)
	}
	for _, body := range []string{``, `{}`, `{"uafResponse":[]}`, `{"uafResponse":"[]"}`, `{"uafResponse":"[{}]"}`, `{"uafResponse":"[{\"fcParams\":\"?\"}]"}`} {
		if got := c.postUAF("/nevisfido/uaf/1.1/authentication", body); got.status != http.StatusBadRequest {
			t.Errorf("%s: got %d, want 400", body, got.status)
		}
	}
	if got := c.post("/nevisfido/uaf/1.1/authentication", `{}`); got.status != http.StatusUnsupportedMediaType {
		t.Errorf("JSON: got %d, want 415", got.status)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	s := New(Options{})
	q := &dispatchRequest{operation: "authentication"}
	first := s.newSession(q, true)
	for range maxKept {
		s.newSession(q, true)
	}
	if s.redeemToken("authentication", first.token).StatusCode != uafNotFound {
		t.Error("the oldest session is still there")
	}
	if n := len(s.sessions); n > maxKept || len(s.byID) != n || len(s.byToken) != n {
		t.Errorf("%d sessions, %d ids, %d tokens", n, len(s.byID), len(s.byToken))
	}
}

func TestInBandRequest(t *testing.T) {
	s, c := start(t, Options{})
	const path = "/nevisfido/uaf/1.1/request/authentication/"
	got := c.postUAF(path, `{"op":"Auth","context":"{\"username\":\"jeff\"}"}`)
	if string(got.members["statusCode"]) != "1200" || c.text(got.members, "op") != "Auth" {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	if created, redeemed := s.Tokens(); created != 0 || redeemed != 0 {
		t.Errorf("%d tokens created, %d redeemed, want none", created, redeemed)
	}
	if got := c.respond("/nevisfido/uaf/1.1/authentication", got.members, ""); got.body != `{"statusCode":1200}` {
		t.Errorf("responding: got %s", got.body)
	}
	for body, want := range map[string]int{`{}`: 400, `{"op":"Reg"}`: 400, `{"op":"Auth","context":"x"}`: 400} {
		if got := c.postUAF(path, body); got.status != want {
			t.Errorf("%s: got %d, want %d", body, got.status, want)
		}
	}
	if got := c.postUAF("/nevisfido/uaf/1.1/request/transfer", `{}`); got.status != http.StatusNotFound {
		t.Errorf("another operation: got %d", got.status)
	}
}

func TestLifetimes(t *testing.T) {
	clock := newClock()
	_, c := start(t, Options{
		Now:               clock.now,
		TokenLifetimes:    map[nevisfido.Operation]time.Duration{nevisfido.Authentication: 10 * time.Second},
		ResponseLifetimes: map[nevisfido.Operation]time.Duration{nevisfido.Authentication: 20 * time.Second},
	})
	token, session := c.begin("authentication", "Auth")
	clock.at = clock.at.Add(10 * time.Second)
	redeemed := c.redeem("authentication", token)
	if string(redeemed.members["lifetimeMillis"]) != "20000" {
		t.Errorf("redeeming in time: got %s", redeemed.body)
	}
	clock.at = clock.at.Add(21 * time.Second)
	if got := c.text(c.status(session).members, "status"); got != failed {
		t.Errorf("without a response: %s", got)
	}
	if got := c.respond("/nevisfido/uaf/1.1/authentication", redeemed.members, ""); got.body != `{"statusCode":1408}` {
		t.Errorf("responding late: got %s", got.body)
	}
}

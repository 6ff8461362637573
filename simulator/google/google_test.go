package google

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// assertion is a good one, unless it is changed.
type assertion struct {
	claims map[string]any
	kid    string
	alg    jose.SignatureAlgorithm
	key    any
}

func newAssertion(s *Server) *assertion {
	now := time.Now()
	return &assertion{
		claims: map[string]any{
			"iss": s.email(), "aud": s.URL() + "/token", "scope": scopes[0],
			"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		},
		kid: s.account.id, alg: jose.RS256, key: s.account.key,
	}
}

func (a *assertion) sign(t *testing.T) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: a.alg, Key: a.key},
		(&jose.SignerOptions{}).WithHeader("kid", a.kid))
	if err != nil {
		t.Fatal(err)
	}
	out, err := jwt.Signed(signer).Claims(a.claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// answer is what came back, with the members of the JSON in it.
type answer struct {
	status  int
	header  http.Header
	members map[string]any
}

func do(t *testing.T, r *http.Request) (answer, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	w, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer w.Body.Close()
	body, err := io.ReadAll(io.LimitReader(w.Body, 1<<20))
	if err != nil {
		return answer{}, err
	}
	a := answer{status: w.StatusCode, header: w.Header}
	_ = json.Unmarshal(body, &a.members) // a page has none
	return a, nil
}

func post(t *testing.T, url, contentType, bearer, body string) (answer, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	return do(t, r)
}

func requestToken(t *testing.T, s *Server, grant, assertion string) answer {
	t.Helper()
	form := url.Values{"grant_type": {grant}, "assertion": {assertion}}
	a, err := post(t, s.URL()+"/token", "application/x-www-form-urlencoded", "", form.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func accessToken(t *testing.T, s *Server) string {
	t.Helper()
	token, ok := requestToken(t, s, jwtBearer, newAssertion(s).sign(t)).members["access_token"].(string)
	if !ok {
		t.Fatal("no access token")
	}
	return token
}

func send(t *testing.T, s *Server, bearer, body string) answer {
	t.Helper()
	a, err := post(t, s.URL()+"/v1/projects/"+s.Project()+"/messages:send", "application/json", bearer, body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// code returns the errorCode of the FcmError detail, "" if there is none.
func (a answer) code() string {
	e, _ := a.members["error"].(map[string]any)
	details, _ := e["details"].([]any)
	for _, d := range details {
		d, _ := d.(map[string]any)
		if d["@type"] == "type.googleapis.com/google.firebase.fcm.v1.FcmError" {
			code, _ := d["errorCode"].(string)
			return code
		}
	}
	return ""
}

func TestTokenEndpointVerifiesTheAssertion(t *testing.T) {
	s := start(t, Options{})
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	tests := []struct {
		name   string
		change func(*assertion)
		want   string // error; "" for a token
	}{
		{"good", func(*assertion) {}, ""},
		{"broader scope", func(a *assertion) { a.claims["scope"] = "email " + scopes[1] }, ""},
		{"another key", func(a *assertion) { a.key = other }, "invalid_grant"},
		{"another key id", func(a *assertion) { a.kid = "x" }, "invalid_grant"},
		{"RS384", func(a *assertion) { a.alg = jose.RS384 }, "invalid_grant"},
		{"HMAC", func(a *assertion) { a.alg, a.key = jose.HS256, bytes.Repeat([]byte("k"), 32) }, "invalid_grant"},
		{"another issuer", func(a *assertion) { a.claims["iss"] = "x" }, "invalid_grant"},
		{"another audience", func(a *assertion) { a.claims["aud"] = "https://oauth2.googleapis.com/token" }, "invalid_grant"},
		{"no audience", func(a *assertion) { delete(a.claims, "aud") }, "invalid_grant"},
		{"over", func(a *assertion) { a.claims["exp"] = now.Add(-time.Minute).Unix() }, "invalid_grant"},
		{"no end", func(a *assertion) { delete(a.claims, "exp") }, "invalid_grant"},
		{"too long", func(a *assertion) { a.claims["exp"] = now.Add(2 * time.Hour).Unix() }, "invalid_grant"},
		{"from the future", func(a *assertion) {
			a.claims["iat"], a.claims["exp"] = now.Add(time.Hour).Unix(), now.Add(90*time.Minute).Unix()
		}, "invalid_grant"},
		{"another scope", func(a *assertion) { a.claims["scope"] = "email" }, "invalid_scope"},
		{"no scope", func(a *assertion) { delete(a.claims, "scope") }, "invalid_scope"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAssertion(s)
			tt.change(a)
			got := requestToken(t, s, jwtBearer, a.sign(t))
			if tt.want == "" && (got.status != 200 || got.members["token_type"] != "Bearer" || got.members["expires_in"] != 3600.0) {
				t.Errorf("got %+v", got)
			}
			if tt.want != "" && (got.status != 400 || got.members["error"] != tt.want) {
				t.Errorf("got %+v, want %s", got, tt.want)
			}
		})
	}
	if got := requestToken(t, s, "password", newAssertion(s).sign(t)); got.members["error"] != "unsupported_grant_type" {
		t.Errorf("another grant type: %+v", got)
	}
	if got := requestToken(t, s, jwtBearer, "junk"); got.members["error"] != "invalid_grant" {
		t.Errorf("no assertion: %+v", got)
	}
}

func TestKeyRotation(t *testing.T) {
	s := start(t, Options{})
	old, issued := newAssertion(s), accessToken(t, s)
	if err := s.RotateKey(); err != nil {
		t.Fatal(err)
	}
	if got := requestToken(t, s, jwtBearer, old.sign(t)); got.members["error"] != "invalid_grant" {
		t.Errorf("the old key: %+v", got)
	}
	if got := requestToken(t, s, jwtBearer, newAssertion(s).sign(t)); got.status != 200 {
		t.Errorf("the new key: %+v", got)
	}
	if got := send(t, s, issued, `{"message":{"token":"`+s.Register()+`"}}`); got.status != 200 {
		t.Errorf("the token of before: %+v", got)
	}
}

func TestSendDemandsAnAccessToken(t *testing.T) {
	s := start(t, Options{})
	body := `{"message":{"token":"` + s.Register() + `"}}`
	token := accessToken(t, s)
	if got := send(t, s, token, body); got.status != 200 {
		t.Errorf("good token: %+v", got)
	}
	s.mu.Lock()
	for token := range s.access {
		s.access[token] = time.Now().Add(-time.Second)
	}
	s.mu.Unlock()
	for name, token := range map[string]string{"none": "", "unknown": "ya29.x", "expired": token} {
		if got := send(t, s, token, body); got.status != 401 || got.code() != "" {
			t.Errorf("%s: %+v, want a bare 401", name, got)
		}
	}
	token = accessToken(t, s)
	s.RevokeTokens()
	if got := send(t, s, token, body); got.status != 401 {
		t.Errorf("revoked: %+v", got)
	}
}

func TestSendChecksTheMessage(t *testing.T) {
	s := start(t, Options{})
	token, phone := accessToken(t, s), s.Register()
	message := func(members string) string { return `{"message":{"token":"` + phone + `"` + members + `}}` }
	big := func(n int) string { return message(`,"data":{"k":"` + strings.Repeat("x", n) + `"}`) }
	tests := []struct {
		name, body string
		ok         bool
	}{
		{"least", message(``), true},
		{"snake_case", message(`,"android":{"collapse_key":"x","ttl":"3600s","priority":"HIGH"}`), true},
		{"lowerCamelCase", message(`,"android":{"collapseKey":"x","ttl":"3.5s","priority":"normal"}`), true},
		{"notification", message(`,"notification":{"title":"t","body":"b"}`), true},
		{"apns", message(`,"apns":{"headers":{"apns-priority":"10","apns-expiration":"1800000000","apns-collapse-id":"x"},
			"payload":{"aps":{"alert":{"title":"t"},"mutable-content":1}}}`), true},
		{"largest", big(MaxPayload - 1), true},
		{"too big", big(MaxPayload), false},
		{"not JSON", `{"message"`, false},
		{"no object", `[]`, false},
		{"no message", `{}`, false},
		{"no recipient", `{"message":{}}`, false},
		{"two recipients", message(`,"topic":"x"`), false},
		{"topic alone", `{"message":{"topic":"x"}}`, false},
		{"unknown token", `{"message":{"token":"x"}}`, false},
		{"duplicate name", message(`,"token":"x"`), false},
		{"name in both forms", message(`,"android":{"collapse_key":"x","collapseKey":"y"}`), false},
		{"unknown name", message(`,"priority":"high"`), false},
		{"unknown name inside", message(`,"android":{"urgent":true}`), false},
		{"unknown name outside", `{"dry_run":true,"message":{"token":"` + phone + `"}}`, false},
		{"title not text", message(`,"notification":{"title":1}`), false},
		{"validate_only not boolean", `{"validate_only":"true","message":{"token":"` + phone + `"}}`, false},
		{"data not text", message(`,"data":{"n":1}`), false},
		{"data nested", message(`,"data":{"n":{}}`), false},
		{"data not a map", message(`,"data":"x"`), false},
		{"reserved from", message(`,"data":{"from":"x"}`), false},
		{"reserved google.", message(`,"data":{"google.x":"x"}`), false},
		{"reserved gcm.", message(`,"data":{"gcm.x":"x"}`), false},
		{"reserved message_type", message(`,"data":{"message_type":"x"}`), false},
		{"priority", message(`,"android":{"priority":"urgent"}`), false},
		{"ttl without unit", message(`,"android":{"ttl":"3600"}`), false},
		{"ttl number", message(`,"android":{"ttl":3600}`), false},
		{"ttl negative", message(`,"android":{"ttl":"-1s"}`), false},
		{"ttl over four weeks", message(`,"android":{"ttl":"2419201s"}`), false},
		{"apns header not text", message(`,"apns":{"headers":{"apns-priority":10}}`), false},
		{"apns priority", message(`,"apns":{"headers":{"apns-priority":"high"}}`), false},
		{"apns expiration", message(`,"apns":{"headers":{"apns-expiration":"2m"}}`), false},
		{"apns collapse id", message(`,"apns":{"headers":{"apns-collapse-id":"` + strings.Repeat("x", 65) + `"}}`), false},
		{"apns header unknown", message(`,"apns":{"headers":{"priority":"10"}}`), false},
		{"payload without aps", message(`,"apns":{"payload":{}}`), false},
		{"mutable-content", message(`,"apns":{"payload":{"aps":{"mutable-content":true}}}`), false},
		{"alert not text", message(`,"apns":{"payload":{"aps":{"alert":{"title":1}}}}`), false},
		{"invalid UTF-8", message(",\"notification\":{\"title\":\"\xff\"}"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := send(t, s, token, tt.body)
			if tt.ok && got.status != 200 {
				t.Errorf("got %+v", got)
			}
			if !tt.ok && (got.status != 400 || got.code() != "INVALID_ARGUMENT") {
				t.Errorf("got %+v, want INVALID_ARGUMENT", got)
			}
		})
	}
	got, err := post(t, s.URL()+"/v1/projects/"+s.Project()+"/messages:send", "text/plain", token, message(``))
	if err != nil || got.status != 400 {
		t.Errorf("another media type: %+v, %v", got, err)
	}
	got, err = post(t, s.URL()+"/v1/projects/other/messages:send", "application/json", token, message(``))
	if err != nil || got.status != 403 {
		t.Errorf("another project: %+v, %v", got, err)
	}
	got, err = post(t, s.URL()+"/v1/projects/"+s.Project()+"/messages:sendAll", "application/json", token, message(``))
	if err != nil || got.status != 404 {
		t.Errorf("another method: %+v, %v", got, err)
	}
}

func TestPhoneReceives(t *testing.T) {
	s := start(t, Options{Project: "bank"})
	token, phone, other := accessToken(t, s), s.Register(), s.Register()
	received := make(chan Message)
	failed := make(chan error, 1)
	go func() {
		m, err := s.Wait(t.Context(), phone)
		failed <- err
		received <- m
	}()
	got := send(t, s, token, `{"message":{"token":"`+phone+`","data":{"nma_data":"x"},"notification":{"title":"t"},
		"android":{"ttl":"60s"},"apns":{"headers":{"apns-priority":"10"}}}}`)
	name, _ := got.members["name"].(string)
	if got.status != 200 || !strings.HasPrefix(name, "projects/bank/messages/") {
		t.Fatalf("got %+v", got)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	m := <-received
	if m.Name != name || !maps.Equal(m.Data, map[string]string{"nma_data": "x"}) || m.Notification.Title != "t" ||
		m.Android.TTL != "60s" || m.APNS.Headers["apns-priority"] != "10" || !json.Valid(m.JSON) {
		t.Errorf("received %+v", m)
	}

	if got := send(t, s, token, `{"validateOnly":true,"message":{"token":"`+phone+`"}}`); got.status != 200 {
		t.Errorf("validate only: %+v", got)
	}
	if len(s.Unread(phone)) != 0 || len(s.Unread(other)) != 0 {
		t.Error("a message too many was delivered")
	}
	for range keptMessages + 1 {
		send(t, s, token, `{"message":{"token":"`+phone+`"}}`)
	}
	if n := len(s.Unread(phone)); n != keptMessages {
		t.Errorf("%d messages kept", n)
	}
	s.Unregister(other)
	if got := send(t, s, token, `{"message":{"token":"`+other+`"}}`); got.status != 404 || got.code() != "UNREGISTERED" {
		t.Errorf("a phone without the app: %+v", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Wait(ended, other); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting in vain: %v", err)
	}
	if _, err := s.Wait(t.Context(), "x"); err == nil {
		t.Error("waiting for nobody's message succeeded")
	}
}

func TestFaults(t *testing.T) {
	s := start(t, Options{})
	token, phone := accessToken(t, s), s.Register()
	body := `{"message":{"token":"` + phone + `"}}`
	tests := []struct {
		name   string
		fault  Fault
		status int
		code   string
		wait   string
	}{
		{"none", None, 200, "", ""},
		{"slow", Slow(time.Millisecond), 200, "", ""},
		{"close after", CloseAfter, 200, "", ""},
		{"unregistered", Unregistered, 404, "UNREGISTERED", ""},
		{"invalid argument", InvalidArgument, 400, "INVALID_ARGUMENT", ""},
		{"sender id mismatch", SenderIDMismatch, 403, "SENDER_ID_MISMATCH", ""},
		{"third-party auth error", ThirdPartyAuthError, 401, "THIRD_PARTY_AUTH_ERROR", ""},
		{"quota", QuotaExceeded("5"), 429, "QUOTA_EXCEEDED", "5"},
		{"unavailable", Unavailable("7"), 503, "UNAVAILABLE", "7"},
		{"unavailable without hint", Unavailable(""), 503, "UNAVAILABLE", ""},
		{"internal", Internal, 500, "INTERNAL", ""},
		{"expired token", ExpiredToken, 401, "", ""},
		{"permission denied", PermissionDenied, 403, "", ""},
		{"not found", NotFound, 404, "", ""},
		{"page", HTML, 200, "", ""},
		{"status", Status(502, http.Header{"Retry-After": {"1"}}, "x"), 502, "", "1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.Script(tt.fault)
			got := send(t, s, token, body)
			if got.status != tt.status || got.code() != tt.code || got.header.Get("Retry-After") != tt.wait {
				t.Errorf("got %+v", got)
			}
		})
	}
	for name, fault := range map[string]Fault{"reset": Reset, "reset after delivery": ResetAfterDelivery, "truncated": Truncated} {
		before := len(s.Unread(phone))
		s.Script(fault)
		if got, err := post(t, s.URL()+"/v1/projects/"+s.Project()+"/messages:send", "application/json", token, body); err == nil {
			t.Errorf("%s: got %+v", name, got)
		}
		if delivered := len(s.Unread(phone)) - before; (delivered == 1) != (name != "reset") {
			t.Errorf("%s: delivered %d", name, delivered)
		}
	}
}

func TestFaultsHideNoMistake(t *testing.T) {
	s := start(t, Options{})
	phone := s.Register()
	s.Script(None)
	if got := send(t, s, "", `{"message":{"token":"`+phone+`"}}`); got.status != 401 {
		t.Errorf("without a token: %+v", got)
	}
	if got := send(t, s, accessToken(t, s), `{"message":{"token":"`+phone+`","x":1}}`); got.status != 400 {
		t.Errorf("with an unknown member: %+v", got)
	}
}

func TestScriptForOneToken(t *testing.T) {
	s := start(t, Options{})
	token, a, b := accessToken(t, s), s.Register(), s.Register()
	s.ScriptFor(a, Internal)
	s.Script(Unavailable(""))
	want := []struct {
		phone  string
		status int
	}{{a, 500}, {b, 503}, {a, 200}, {b, 200}}
	for i, w := range want {
		if got := send(t, s, token, `{"message":{"token":"`+w.phone+`"}}`); got.status != w.status {
			t.Errorf("send %d: %d, want %d", i, got.status, w.status)
		}
	}
}

func TestHangEndsAtClose(t *testing.T) {
	s := start(t, Options{})
	entered := make(chan struct{})
	s.ScriptOAuth(func(c *Call) { close(entered); Hang(c) })
	done := make(chan error, 1)
	form := url.Values{"grant_type": {jwtBearer}, "assertion": {newAssertion(s).sign(t)}}
	go func() {
		_, err := post(t, s.URL()+"/token", "application/x-www-form-urlencoded", "", form.Encode())
		done <- err
	}()
	<-entered
	s.Close()
	if err := <-done; err == nil {
		t.Error("a server that is closed answered")
	}
}

func TestGivenListener(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{Listener: listener})
	if want := "http://" + listener.Addr().String(); s.URL() != want {
		t.Errorf("at %s, want %s", s.URL(), want)
	}
	if accessToken(t, s) == "" || s.TokenRequests() != 1 {
		t.Error("it does not serve")
	}
}

func TestMetadataDemandsItsHeader(t *testing.T) {
	s := start(t, Options{})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		s.URL()+"/computeMetadata/v1/instance/service-accounts/default/token", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := do(t, r); err != nil || got.status != 403 {
		t.Errorf("without: %+v, %v", got, err)
	}
	r.Header.Set("Metadata-Flavor", "Google")
	got, err := do(t, r)
	if err != nil || got.status != 200 || got.members["access_token"] == "" {
		t.Errorf("with: %+v, %v", got, err)
	}
}

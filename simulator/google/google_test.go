package google

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
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
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: a.alg, Key: a.key}, (&jose.SignerOptions{}).WithHeader("kid", a.kid))
	if err != nil {
		t.Fatal(err)
	}
	out, err := jwt.Signed(signer).Claims(a.claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// answer is what came back: either a success or one of the two kinds of error.
type answer struct {
	status      int
	Access      string  `json:"access_token"`
	Expires     float64 `json:"expires_in"`
	Error       json.RawMessage
	Description string `json:"error_description"`
}

func post(t *testing.T, s *Server, path, media, bearer, body string) (a answer) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", media)
	r.Header.Set("Authorization", "Bearer "+bearer)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	_ = json.Unmarshal(w.Body.Bytes(), &a) // a page has no members
	a.status = w.Code
	return a
}

func requestToken(t *testing.T, s *Server, grant, assertion string) answer {
	t.Helper()
	return post(t, s, "/token", "application/x-www-form-urlencoded", "", url.Values{"grant_type": {grant}, "assertion": {assertion}}.Encode())
}

func accessToken(t *testing.T, s *Server) string {
	t.Helper()
	return requestToken(t, s, jwtBearer, newAssertion(s).sign(t)).Access
}

func send(t *testing.T, s *Server, bearer, body string) answer {
	t.Helper()
	return post(t, s, "/v1/projects/"+s.Project()+"/messages:send", "application/json", bearer, body)
}

func to(phone string) string { return `{"message":{"token":"` + phone + `"}}` }

// code returns the errorCode of the FcmError detail, "" if there is none.
func (a answer) code() string {
	var e struct {
		Details []struct {
			Type string `json:"@type"`
			Code string `json:"errorCode"`
		}
	}
	if json.Unmarshal(a.Error, &e) != nil || len(e.Details) == 0 || e.Details[0].Type != "type.googleapis.com/google.firebase.fcm.v1.FcmError" {
		return ""
	}
	return e.Details[0].Code
}

func TestTokenEndpointVerifiesTheAssertion(t *testing.T) {
	s := start(t, Options{})
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	old, now := newAssertion(s), time.Now()
	if err := s.RotateKey(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*assertion)
		want   string // error; "" for a token
	}{
		"good":              {func(*assertion) {}, ""},
		"broader scope":     {func(a *assertion) { a.claims["scope"] = "email " + scopes[1] }, ""},
		"the key of before": {func(a *assertion) { *a = *old }, "invalid_grant"},
		"another key":       {func(a *assertion) { a.key = other }, "invalid_grant"},
		"another key id":    {func(a *assertion) { a.kid = "x" }, "invalid_grant"},
		"RS384":             {func(a *assertion) { a.alg = jose.RS384 }, "invalid_grant"},
		"HMAC":              {func(a *assertion) { a.alg, a.key = jose.HS256, bytes.Repeat([]byte("k"), 32) }, "invalid_grant"},
		"another issuer":    {func(a *assertion) { a.claims["iss"] = "x" }, "invalid_grant"},
		"another audience":  {func(a *assertion) { a.claims["aud"] = "https://oauth2.googleapis.com/token" }, "invalid_grant"},
		"no audience":       {func(a *assertion) { delete(a.claims, "aud") }, "invalid_grant"},
		"over":              {func(a *assertion) { a.claims["exp"] = now.Add(-time.Minute).Unix() }, "invalid_grant"},
		"no end":            {func(a *assertion) { delete(a.claims, "exp") }, "invalid_grant"},
		"too long":          {func(a *assertion) { a.claims["exp"] = now.Add(2 * time.Hour).Unix() }, "invalid_grant"},
		"from the future": {func(a *assertion) {
			a.claims["iat"], a.claims["exp"] = now.Add(time.Hour).Unix(), now.Add(90*time.Minute).Unix()
		}, "invalid_grant"},
		"another scope": {func(a *assertion) { a.claims["scope"] = "email" }, "invalid_scope"},
		"no scope":      {func(a *assertion) { delete(a.claims, "scope") }, "invalid_scope"},
	} {
		a := newAssertion(s)
		tt.change(a)
		got := requestToken(t, s, jwtBearer, a.sign(t))
		if tt.want == "" && (got.status != 200 || got.Access == "" || got.Expires != 3600) {
			t.Errorf("%s: got %+v", name, got)
		}
		if tt.want != "" && (got.status != 400 || string(got.Error) != `"`+tt.want+`"`) {
			t.Errorf("%s: got %d %s, want %s", name, got.status, got.Error, tt.want)
		}
	}
	if got := requestToken(t, s, "password", newAssertion(s).sign(t)); string(got.Error) != `"unsupported_grant_type"` {
		t.Errorf("another grant type: %+v", got)
	}
	if got := requestToken(t, s, jwtBearer, "junk"); string(got.Error) != `"invalid_grant"` {
		t.Errorf("no assertion: %+v", got)
	}
}

func TestSendChecksTheMessage(t *testing.T) {
	s := start(t, Options{})
	token, phone := accessToken(t, s), s.Register()
	message := func(members string) string { return `{"message":{"token":"` + phone + `"` + members + `}}` }
	big := func(n int) string { return message(`,"data":{"k":"` + strings.Repeat("x", n) + `"}`) }
	for name, tt := range map[string]struct {
		body string
		ok   bool
	}{
		"least":        {message(``), true},
		"android":      {message(`,"android":{"collapse_key":"x","ttl":"3.5s","priority":"HIGH","notification":{"tag":"x"}}`), true},
		"notification": {message(`,"notification":{"title":"t","body":"b"}`), true},
		"apns": {message(`,"apns":{"headers":{"apns-priority":"10","apns-expiration":"1800000000","apns-collapse-id":"x"},
			"payload":{"aps":{"alert":{"title":"t"},"mutable-content":1}}}`), true},
		"largest":                   {big(maxPayload - 1), true},
		"too big":                   {big(maxPayload), false},
		"not JSON":                  {`{"message"`, false},
		"not an object":             {`[]`, false},
		"no message":                {`{}`, false},
		"no recipient":              {`{"message":{}}`, false},
		"two recipients":            {message(`,"topic":"x"`), false},
		"unknown token":             {to("x"), false},
		"duplicate name":            {message(`,"token":"x"`), false},
		"unknown name":              {message(`,"priority":"high"`), false},
		"unknown name inside":       {message(`,"android":{"urgent":true}`), false},
		"unknown name outside":      {`{"dry_run":true,"message":{"token":"` + phone + `"}}`, false},
		"title not text":            {message(`,"notification":{"title":1}`), false},
		"validate_only not boolean": {`{"validate_only":"true","message":{"token":"` + phone + `"}}`, false},
		"data not text":             {message(`,"data":{"n":1}`), false},
		"reserved from":             {message(`,"data":{"from":"x"}`), false},
		"reserved google.":          {message(`,"data":{"google.x":"x"}`), false},
		"reserved gcm.":             {message(`,"data":{"gcm.x":"x"}`), false},
		"priority":                  {message(`,"android":{"priority":"urgent"}`), false},
		"ttl without unit":          {message(`,"android":{"ttl":"3600"}`), false},
		"ttl negative":              {message(`,"android":{"ttl":"-1s"}`), false},
		"ttl over four weeks":       {message(`,"android":{"ttl":"2419201s"}`), false},
		"apns header not text":      {message(`,"apns":{"headers":{"apns-priority":10}}`), false},
		"apns priority":             {message(`,"apns":{"headers":{"apns-priority":"high"}}`), false},
		"apns expiration":           {message(`,"apns":{"headers":{"apns-expiration":"2m"}}`), false},
		"apns collapse id":          {message(`,"apns":{"headers":{"apns-collapse-id":"` + strings.Repeat("x", 65) + `"}}`), false},
		"apns header unknown":       {message(`,"apns":{"headers":{"priority":"10"}}`), false},
		"payload without aps":       {message(`,"apns":{"payload":{}}`), false},
		"mutable-content":           {message(`,"apns":{"payload":{"aps":{"mutable-content":true}}}`), false},
		"invalid UTF-8":             {message(",\"notification\":{\"title\":\"\xff\"}"), false},
	} {
		got := send(t, s, token, tt.body)
		if tt.ok && got.status != 200 || !tt.ok && (got.status != 400 || got.code() != "INVALID_ARGUMENT") {
			t.Errorf("%s: got %d %s", name, got.status, got.Error)
		}
	}
	for path, want := range map[string]int{
		"/v1/projects/other/messages:send":                  403,
		"/v1/projects/" + s.Project() + "/messages:sendAll": 404,
	} {
		if got := post(t, s, path, "application/json", token, message(``)); got.status != want {
			t.Errorf("%s: got %d", path, got.status)
		}
	}
	if got := post(t, s, "/v1/projects/"+s.Project()+"/messages:send", "text/plain", token, message(``)); got.status != 400 {
		t.Errorf("another media type: %+v", got)
	}
}

// What a test finds nowhere has to be in the errors in the first place.
func TestErrorsQuoteTheRequest(t *testing.T) {
	s := start(t, Options{})
	token, phone := accessToken(t, s), s.Register()
	s.Script(Unregistered)
	if got := send(t, s, token, to(phone)); got.status != 404 || got.code() != "UNREGISTERED" || !strings.Contains(string(got.Error), phone) {
		t.Errorf("a send: %+v", got)
	}
	assertion := newAssertion(s).sign(t)
	s.ScriptOAuth(OAuthError("invalid_grant"))
	if got := requestToken(t, s, jwtBearer, assertion); string(got.Error) != `"invalid_grant"` || !strings.Contains(got.Description, assertion) {
		t.Errorf("a request for a token: %+v", got)
	}
}

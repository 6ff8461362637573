package fcm

import (
	"context"
	"encoding/json"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
	"github.com/oob-dispatch/oob-dispatch/simulator/proxy"
)

// trust returns the options that make a dispatcher trust the simulator.
func trust(t *testing.T, s *google.Server) map[string]any {
	t.Helper()
	if s.CA() == nil {
		return nil
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	write(t, path, s.CA())
	return map[string]any{"ca": path}
}

func TestProxyCarriesTokenAndMessage(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := startGoogle(t, google.Options{TLS: secure})
		p := startProxy(t, proxy.Options{User: "sidecar", Password: "p@ss word"})
		options := trust(t, s)
		if options == nil {
			options = map[string]any{}
		}
		t.Setenv("OUTBOUND_PROXY", p.URL())
		options["proxy"] = "{env.OUTBOUND_PROXY}"
		f := newDispatcher(t, s, options)

		phone := s.Register()
		if _, err := f.Dispatch(t.Context(), message(phone)); err != nil {
			t.Fatal(err)
		}
		if len(s.Unread(phone)) != 1 || s.TokenRequests() != 1 || s.Sends() != 1 {
			t.Fatalf("%d token requests, %d sends", s.TokenRequests(), s.Sends())
		}
		// Two requests in absolute form, or one tunnel that HTTP/2 shares.
		want := proxy.Counts{Requests: 2}
		if secure {
			want = proxy.Counts{Connects: 1}
		}
		if got := p.Counts(); got != want {
			t.Errorf("the proxy saw %+v, want %+v", got, want)
		}
	}
}

func TestEnvironmentsProxyIsIgnored(t *testing.T) {
	s := startGoogle(t, google.Options{TLS: true})
	p := startProxy(t, proxy.Options{})
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, p.URL())
	}
	f := newDispatcher(t, s, trust(t, s))
	if _, err := f.Dispatch(t.Context(), message(s.Register())); err != nil {
		t.Fatal(err)
	}
	if got := p.Counts(); got != (proxy.Counts{}) {
		t.Errorf("the environment's proxy saw %+v", got)
	}
}

func TestProxyTrouble(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := startGoogle(t, google.Options{TLS: secure})
		p := startProxy(t, proxy.Options{User: "sidecar", Password: "right"})
		options := trust(t, s)
		if options == nil {
			options = map[string]any{}
		}
		options["proxy"] = strings.Replace(p.URL(), "right", "wrong-canary", 1)
		_, err := newDispatcher(t, s, options).Dispatch(t.Context(), message(s.Register()))
		e := dispatcherstest.WantFailure(t, err, dispatchers.Broken, "proxy")
		if strings.Contains(e.Error(), "canary") {
			t.Errorf("the error %q holds the password", &e)
		}

		options["proxy"] = p.URL()
		p.Refuse(503)
		_, err = newDispatcher(t, s, options).Dispatch(t.Context(), message(s.Register()))
		if e := dispatchers.AsError(err); e.Class != dispatchers.Temporary {
			t.Errorf("a proxy that fails: %v, want temporary", err)
		}
		if len(s.Requests()) != 0 {
			t.Error("a request went past the proxy")
		}
	}
}

func TestCertificateMustBeTrusted(t *testing.T) {
	s := startGoogle(t, google.Options{TLS: true})
	_, err := newDispatcher(t, s, nil).Dispatch(t.Context(), message(s.Register()))
	dispatcherstest.WantFailure(t, err, dispatchers.Broken, "tls")
	if len(s.Requests()) != 0 {
		t.Error("something was sent to a server that is not trusted")
	}
}

func TestRotatedCredentialsAreUsed(t *testing.T) {
	s := startGoogle(t, google.Options{})
	path := credentialsFile(t, s)
	f := newDispatcher(t, s, map[string]any{"credentials": path})
	phone := s.Register()
	if _, err := f.Dispatch(t.Context(), message(phone)); err != nil {
		t.Fatal(err)
	}
	if err := s.RotateKey(); err != nil {
		t.Fatal(err)
	}
	s.RevokeTokens()
	_, err := f.Dispatch(t.Context(), message(phone))
	dispatcherstest.WantFailure(t, err, dispatchers.Temporary, "token_rejected")
	_, err = f.Dispatch(t.Context(), message(phone))
	dispatcherstest.WantFailure(t, err, dispatchers.Broken, "oauth_refused")

	write(t, path, []byte(`{"type":"service_account"`)) // half a file: the last good one stays
	_, err = f.Dispatch(t.Context(), message(phone))
	dispatcherstest.WantFailure(t, err, dispatchers.Broken, "oauth_refused")

	write(t, path, s.ServiceAccountJSON())
	if _, err := f.Dispatch(t.Context(), message(phone)); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Unread(phone)); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

func TestNewCredentialsGetANewToken(t *testing.T) {
	s := startGoogle(t, google.Options{})
	path := credentialsFile(t, s)
	f := newDispatcher(t, s, map[string]any{"credentials": path})
	for want := 1; want <= 2; want++ {
		write(t, path, s.ServiceAccountJSON())
		if _, err := f.Dispatch(t.Context(), message(s.Register())); err != nil {
			t.Fatal(err)
		}
		if got := s.TokenRequests(); got != want {
			t.Errorf("%d token requests, want %d: the old token belongs to the old file", got, want)
		}
	}
}

func TestLateTokenOfOldCredentialsIsNotKept(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	slow, quick := &serviceAccount{}, &serviceAccount{}
	c := tokenCache{fetch: func(_ context.Context, s tokenSource) (grant, error) {
		if s == quick {
			return grant{token: "new"}, nil
		}
		close(started)
		<-release
		return grant{token: "old"}, nil
	}}
	late := make(chan string, 1)
	go func() {
		token, _, _ := c.get(t.Context(), slow)
		late <- token
	}()
	<-started
	if token, fresh, err := c.get(t.Context(), quick); token != "new" || !fresh || err != nil {
		t.Fatalf("got %q, %v, %v", token, fresh, err)
	}
	close(release)
	if token := <-late; token != "old" {
		t.Errorf("who waited for the old token got %q", token)
	}
	c.fetches.Wait()
	if token, fresh, err := c.get(t.Context(), quick); token != "new" || fresh || err != nil {
		t.Errorf("got %q, %v, %v; want the token that is there", token, fresh, err)
	}
}

func TestRotationKeepsTheProject(t *testing.T) {
	s := startGoogle(t, google.Options{})
	other := startGoogle(t, google.Options{Project: "another"})
	path := credentialsFile(t, s)
	f := newDispatcher(t, s, map[string]any{"credentials": path})
	write(t, path, other.ServiceAccountJSON())
	if _, err := f.Dispatch(t.Context(), message(s.Register())); err != nil {
		t.Fatal(err)
	}
	if other.TokenRequests() != 0 {
		t.Error("the credentials of another project were used")
	}
}

func TestRejectedTokenIsReplaced(t *testing.T) {
	s := startGoogle(t, google.Options{})
	f := newDispatcher(t, s, nil)
	phone := s.Register()
	if _, err := f.Dispatch(t.Context(), message(phone)); err != nil {
		t.Fatal(err)
	}
	s.RevokeTokens()
	_, err := f.Dispatch(t.Context(), message(phone))
	dispatcherstest.WantFailure(t, err, dispatchers.Temporary, "token_rejected")
	if _, err := f.Dispatch(t.Context(), message(phone)); err != nil {
		t.Fatal(err)
	}
	if s.TokenRequests() != 2 {
		t.Errorf("%d token requests, want 2", s.TokenRequests())
	}
}

func TestTokenIsReplacedAheadOfItsEnd(t *testing.T) {
	s := startGoogle(t, google.Options{})
	f := newDispatcher(t, s, nil)
	phone := s.Register()
	dispatch := func() {
		t.Helper()
		if _, err := f.Dispatch(t.Context(), message(phone)); err != nil {
			t.Fatal(err)
		}
		f.tokens.fetches.Wait()
	}
	age := func(d time.Duration) {
		f.tokens.mu.Lock()
		defer f.tokens.mu.Unlock()
		f.tokens.token.refresh = f.tokens.token.refresh.Add(-d)
		f.tokens.token.until = f.tokens.token.until.Add(-d)
		f.tokens.nextAhead = time.Time{}
	}
	dispatch()
	first := f.tokens.token.value
	dispatch()
	if s.TokenRequests() != 1 {
		t.Fatalf("%d token requests for a young token, want 1", s.TokenRequests())
	}

	age(56 * time.Minute)
	s.ScriptOAuth(google.OAuthError("invalid_grant"))
	dispatch() // with the old one, although a new one cannot be had
	if s.TokenRequests() != 2 || f.tokens.token.value != first {
		t.Fatalf("%d token requests, want 2 and the old token kept", s.TokenRequests())
	}
	dispatch() // not tried again at once
	if s.TokenRequests() != 2 {
		t.Fatalf("%d token requests, want a pause after a failed one", s.TokenRequests())
	}
	age(0)
	dispatch()
	if s.TokenRequests() != 3 || f.tokens.token.value == first {
		t.Fatalf("%d token requests, want 3 and a new token", s.TokenRequests())
	}
	age(time.Hour)
	dispatch()
	if s.TokenRequests() != 4 {
		t.Errorf("%d token requests, want 4: the token is at its end", s.TokenRequests())
	}
}

func TestShortLivedTokens(t *testing.T) {
	now := time.Now()
	for _, life := range []time.Duration{time.Second, time.Minute, time.Hour} {
		got := newAccessToken(grant{"x", life}, nil, now)
		if !got.refresh.After(now) || !got.until.After(got.refresh) || !got.until.Before(now.Add(life)) {
			t.Errorf("life %v: refresh after %v, until %v", life, got.refresh.Sub(now), got.until.Sub(now))
		}
	}
	if got := newAccessToken(grant{token: "x"}, nil, now); !got.until.After(now) {
		t.Error("a token without expires_in is never used")
	}
}

// Numbers may be texts or have a fraction.
func TestLifetimeIsReadLeniently(t *testing.T) {
	s := startGoogle(t, google.Options{})
	for text, want := range map[string]time.Duration{
		"3599": 3599 * time.Second, `"3599"`: 3599 * time.Second, "3599.9": 3599900 * time.Millisecond, `"1.5"`: 1500 * time.Millisecond,
		"null": 0, `"soon"`: 0, "-5": 0, "1e300": 24 * time.Hour, "{}": 0,
	} {
		f := newDispatcher(t, s, nil)
		s.ScriptOAuth(fault.Answer(200, nil, `{"access_token":"t","expires_in":`+text+`}`))
		got, err := f.oauth.fetch(t.Context(), f.source())
		if err != nil || got != (grant{"t", want}) {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
}

func TestTokenEndpointAnswers(t *testing.T) {
	tests := []struct {
		name   string
		fault  fault.Fault
		class  dispatchers.Class
		reason string
	}{
		{"invalid grant", google.OAuthError("invalid_grant"), dispatchers.Broken, "oauth_refused"},
		{"error code that is not of the RFC", google.OAuthError("canary"), dispatchers.Broken, "oauth_refused"},
		{"unavailable", fault.Answer(503, nil, "canary"), dispatchers.Temporary, "oauth_unavailable"},
		{"too many", fault.Answer(429, nil, "canary"), dispatchers.Temporary, "oauth_unavailable"},
		{"forbidden", fault.Answer(403, nil, "canary"), dispatchers.Broken, "oauth_refused"},
		{"redirect", fault.Answer(307, map[string][]string{"Location": {"/token"}}, ""), dispatchers.Broken, "oauth_refused"},
		{"page", fault.HTML(200), dispatchers.Broken, "oauth_refused"},
		{"JSON of something else", fault.Answer(200, nil, `{"canary":1}`), dispatchers.Broken, "oauth_refused"},
		{"one gigabyte", fault.Flood, dispatchers.Broken, "oauth_refused"},
		{"half an answer", fault.Truncated, dispatchers.Temporary, "connection"},
		{"reset", fault.Reset, dispatchers.Temporary, "connection"},
	}
	s := startGoogle(t, google.Options{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newDispatcher(t, s, nil)
			phone, before, sends := s.Register(), s.TokenRequests(), s.Sends()
			s.ScriptOAuth(tt.fault)
			_, err := f.Dispatch(t.Context(), message(phone))
			e := dispatcherstest.WantFailure(t, err, tt.class, tt.reason)
			if s.TokenRequests() != before+1 || s.Sends() != sends {
				t.Errorf("%d token requests and %d sends, want 1 and 0", s.TokenRequests()-before, s.Sends()-sends)
			}
			if text := e.Error(); strings.Contains(text, "canary") || strings.Contains(text, "eyJ") {
				t.Errorf("the error %q quotes the answer", text)
			}
			if _, err := f.Dispatch(t.Context(), message(phone)); err != nil {
				t.Errorf("the next attempt: %v", err)
			}
		})
	}
}

func TestClosedConnectionIsReplaced(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := startGoogle(t, google.Options{TLS: secure})
		f := newDispatcher(t, s, trust(t, s))
		phone := s.Register()
		s.Script(fault.CloseAfter, fault.CloseAfter)
		const n = 4
		for range n {
			if _, err := f.Dispatch(t.Context(), message(phone)); err != nil {
				t.Fatal(err)
			}
		}
		if s.Sends() != n || len(s.Unread(phone)) != n {
			t.Errorf("%d sends, %d delivered, want %d", s.Sends(), len(s.Unread(phone)), n)
		}
		if proto := s.Requests()[0].Proto; secure && proto != "HTTP/2.0" {
			t.Errorf("over TLS it speaks %s", proto)
		}
	}
}

func TestMetadataServer(t *testing.T) {
	s := startGoogle(t, google.Options{})
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("GCE_METADATA_HOST", u.Host)
	p := startProxy(t, proxy.Options{})
	f, err := load(t, map[string]any{
		"application_default": true, "project": s.Project(), "endpoint": s.URL(), "proxy": p.URL(),
	})
	if err != nil {
		t.Fatal(err)
	}
	phone := s.Register()
	if _, err := f.Dispatch(t.Context(), message(phone)); err != nil {
		t.Fatal(err)
	}
	if got := p.Counts(); got.Requests != 1 || len(s.Unread(phone)) != 1 {
		t.Errorf("the proxy saw %+v, want the send alone", got)
	}

	s.RevokeTokens()
	_, err = f.Dispatch(t.Context(), message(phone))
	dispatcherstest.WantFailure(t, err, dispatchers.Temporary, "token_rejected")
	s.ScriptOAuth(fault.Answer(404, nil, "no service account"))
	_, err = f.Dispatch(t.Context(), message(phone))
	dispatcherstest.WantFailure(t, err, dispatchers.Broken, "oauth_refused")
}

func TestApplicationDefaultFile(t *testing.T) {
	s := startGoogle(t, google.Options{})
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", credentialsFile(t, s))
	f, err := load(t, map[string]any{"application_default": true, "endpoint": s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Dispatch(t.Context(), message(s.Register())); err != nil {
		t.Error(err)
	}
}

func TestServiceAccountFile(t *testing.T) {
	s := startGoogle(t, google.Options{})
	change := func(name, value string) []byte {
		members := map[string]string{}
		if err := json.Unmarshal(s.ServiceAccountJSON(), &members); err != nil {
			t.Fatal(err)
		}
		members[name] = value
		out, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	tests := []struct {
		name    string
		content []byte
		project string
		want    string // "" for a file that is good
	}{
		{"as Google gives it", s.ServiceAccountJSON(), "", ""},
		{"project given as well", s.ServiceAccountJSON(), s.Project(), ""},
		{"project in the configuration only", change("project_id", ""), "other", ""},
		{"default token URI", change("token_uri", ""), "", ""},
		{"another project", s.ServiceAccountJSON(), "other", "project_id"},
		{"no project", change("project_id", ""), "", "project"},
		{"empty", nil, "", "JSON"},
		{"not JSON", []byte("canary"), "", "JSON"},
		{"user's credentials", change("type", "authorized_user"), "", "service_account"},
		{"federated credentials", change("type", "external_account"), "", "service_account"},
		{"impersonation", change("type", "impersonated_service_account"), "", "service_account"},
		{"no type", change("type", ""), "", "service_account"},
		{"no address", change("client_email", ""), "", "service account"},
		{"no key", change("private_key", "canary"), "", "private_key"},
		{"broken key", change("private_key", "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n"), "", "private_key"},
		{"token URI in clear", change("token_uri", "http://canary.example.com/token"), "", "token_uri"},
		{"token URI that is none", change("token_uri", "canary"), "", "token_uri"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseServiceAccount(tt.content, tt.project)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error about %s", err, tt.want)
			case err != nil && strings.Contains(err.Error(), "canary"):
				t.Errorf("the error %q quotes the file", err)
			}
		})
	}
}

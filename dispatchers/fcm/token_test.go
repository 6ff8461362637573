package fcm

import (
	"cmp"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
	"github.com/oob-dispatch/oob-dispatch/simulator/proxy"
)

// trust returns the options that make a dispatcher trust the simulator.
func trust(t *testing.T, s *google.Server) map[string]any {
	t.Helper()
	if s.CA() == nil {
		return map[string]any{}
	}
	return map[string]any{"ca": testservice.File(t, "ca.pem", s.CA())}
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

	testservice.Put(t, path, []byte(`{"type":"service_account"`)) // half a file: the last good one stays
	_, err = f.Dispatch(t.Context(), message(phone))
	dispatcherstest.WantFailure(t, err, dispatchers.Broken, "oauth_refused")

	testservice.Put(t, path, s.ServiceAccountJSON())
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
		testservice.Put(t, path, s.ServiceAccountJSON())
		if _, err := f.Dispatch(t.Context(), message(s.Register())); err != nil {
			t.Fatal(err)
		}
		if got := s.TokenRequests(); got != want {
			t.Errorf("%d token requests, want %d: the old token belongs to the old file", got, want)
		}
	}
}

func TestRotationKeepsTheProject(t *testing.T) {
	s := startGoogle(t, google.Options{})
	other := startGoogle(t, google.Options{Project: "another"})
	path := credentialsFile(t, s)
	f := newDispatcher(t, s, map[string]any{"credentials": path})
	testservice.Put(t, path, other.ServiceAccountJSON())
	if _, err := f.Dispatch(t.Context(), message(s.Register())); err != nil {
		t.Fatal(err)
	}
	if other.TokenRequests() != 0 {
		t.Error("the credentials of another project were used")
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
		now := time.Now()
		got, err := f.source().fetch(t.Context())
		if life := cmp.Or(want, unknownLifetime); err != nil || got.value != "t" || got.until.Sub(now.Add(life-min(margin, life/10))).Abs() > time.Second {
			t.Errorf("%s: good for %v, %v", text, got.until.Sub(now), err)
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

// A token is replaced ahead of its end, while it is still used; after a failure
// not at once again.
func TestTokenIsReplacedAheadOfItsEnd(t *testing.T) {
	s := startGoogle(t, google.Options{})
	f := newDispatcher(t, s, nil)
	phone, source := s.Register(), f.source()
	age := func(d time.Duration) {
		source.mu.Lock()
		defer source.mu.Unlock()
		source.token.until = source.token.until.Add(-d)
		source.token.refresh = source.token.until.Add(margin - refreshAhead)
	}
	first := ""
	for _, step := range []struct {
		name    string
		change  func()
		fetched int
		kept    bool
	}{
		{"none yet", func() {}, 1, false},
		{"young", func() { first = source.present().value }, 1, true},
		{"old, and none to be had", func() { age(56 * time.Minute); s.ScriptOAuth(google.OAuthError("invalid_grant")) }, 2, true},
		{"right after that", func() {}, 2, true},
		{"later", func() { age(0) }, 3, false},
		{"at its end", func() { age(time.Hour) }, 4, false},
	} {
		step.change()
		if _, err := f.Dispatch(t.Context(), message(phone)); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		_, _, _ = source.fetches.Do("", func() (any, error) { return nil, nil }) // waits for a request that is under way
		if got, kept := s.TokenRequests(), source.present().value == first; got != step.fetched || kept != step.kept {
			t.Errorf("%s: %d token requests, want %d; the first token is kept: %v", step.name, got, step.fetched, kept)
		}
	}
}

func TestShortLivedTokens(t *testing.T) {
	now := time.Now()
	for _, life := range []time.Duration{0, time.Second, time.Minute, time.Hour} {
		got, end := newAccessToken("x", life, now), now.Add(cmp.Or(life, unknownLifetime))
		if !got.refresh.After(now) || !got.until.After(got.refresh) || !got.until.Before(end) {
			t.Errorf("life %v: refresh after %v, until %v", life, got.refresh.Sub(now), got.until.Sub(now))
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
	p, err := proxy.Start(proxy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
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

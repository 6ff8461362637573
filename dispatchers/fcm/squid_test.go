package fcm

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice/squidtest"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
)

// throughSquid are the options of a dispatcher that goes through the proxy and
// knows FCM by another name than the OAuth host.
func throughSquid(t *testing.T, s *google.Server, p *squidtest.Proxy, proxyURL string) map[string]any {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write(t, ca, slices.Concat(s.CA(), p.CA(t)))
	t.Setenv("OUTBOUND_PROXY", proxyURL)
	return map[string]any{"proxy": "{env.OUTBOUND_PROXY}", "ca": ca, "endpoint": "https://" + sendHost(s)}
}

func oauthHost(s *google.Server) string { return strings.TrimPrefix(s.URL(), "https://") }

func sendHost(s *google.Server) string {
	return strings.Replace(oauthHost(s), "127.0.0.1", "localhost", 1)
}

// Both of Google's hosts are reached through a real proxy.
func TestSquid(t *testing.T) {
	for scheme, secure := range map[string]bool{"http": false, "https": true} {
		t.Run(scheme, func(t *testing.T) {
			s := startGoogle(t, google.Options{TLS: true})
			p := squidtest.Start(t, squidtest.Options{User: "sidecar", Password: "p@ss word", TLS: secure})
			f := newDispatcher(t, s, throughSquid(t, s, p, p.URL()))
			phone := s.Register()
			if _, err := f.Dispatch(t.Context(), message(phone)); err != nil {
				t.Fatal(err)
			}
			if len(s.Unread(phone)) != 1 || s.TokenRequests() != 1 || s.Sends() != 1 {
				t.Errorf("%d token requests, %d sends", s.TokenRequests(), s.Sends())
			}
			f.service.Transport.CloseIdleConnections()
			got := p.Requests(t, 2)
			for _, host := range []string{oauthHost(s), sendHost(s)} {
				if !slices.Contains(got, squidtest.Request{Method: "CONNECT", URL: host, User: "sidecar", Status: http.StatusOK}) {
					t.Errorf("no tunnel to %s; the proxy saw %v", host, got)
				}
			}
			if len(got) != 2 {
				t.Errorf("the proxy saw %v, want two tunnels", got)
			}

			_, err := newDispatcher(t, s, throughSquid(t, s, p, p.URLAs("sidecar", "canary"))).Dispatch(t.Context(), message(phone))
			e := dispatcherstest.WantFailure(t, err, dispatchers.Broken, "proxy", "canary")
			if !strings.Contains(e.Error(), "check user and password in proxy") {
				t.Errorf("a wrong password: %v", &e)
			}
			f = newDispatcher(t, s, throughSquid(t, s, p, p.URL()))
			p.Stop()
			_, err = f.Dispatch(t.Context(), message(phone))
			e = dispatcherstest.WantFailure(t, err, dispatchers.Temporary, "connection", "p@ss", "p%40ss")
			if !strings.Contains(e.Error(), "connecting to the proxy") {
				t.Errorf("a proxy that is down: %v", &e)
			}
			if s.Sends() != 1 || s.TokenRequests() != 1 {
				t.Error("a request went past the proxy")
			}
		})
	}
}

// A proxy that lets the sidecar reach the OAuth host and not FCM, or the other
// way round.
func TestSquidRefuses(t *testing.T) {
	s := startGoogle(t, google.Options{TLS: true})
	for status, class := range map[int]dispatchers.Class{
		http.StatusForbidden: dispatchers.Broken, http.StatusBadGateway: dispatchers.Temporary,
	} {
		for host, doing := range map[string]string{oauthHost(s): "fetching an access token", sendHost(s): "sending to FCM"} {
			p := squidtest.Start(t, squidtest.Options{Refuse: map[string]int{host: status}})
			before := s.TokenRequests()
			_, err := newDispatcher(t, s, throughSquid(t, s, p, p.URL())).Dispatch(t.Context(), message(s.Register()))
			e := dispatcherstest.WantFailure(t, err, class, "proxy")
			if !strings.Contains(e.Error(), doing) {
				t.Errorf("%d for %s: %v", status, host, &e)
			}
			if fetched := s.TokenRequests() > before; fetched != (doing == "sending to FCM") {
				t.Errorf("%d for %s: a token was fetched: %v", status, host, fetched)
			}
		}
	}
	if s.Sends() != 0 {
		t.Error("a message went past the proxy")
	}
}

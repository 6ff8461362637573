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
	"github.com/oob-dispatch/oob-dispatch/simulator/proxy"
)

func TestProxyCarriesTokenAndMessage(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := startGoogle(t, google.Options{TLS: secure})
		p, others := startProxy(t, proxy.Options{User: "sidecar", Password: "p@ss word"}), startProxy(t, proxy.Options{})
		for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
			t.Setenv(name, others.URL()) // which has no effect
		}
		t.Setenv("OUTBOUND_PROXY", p.URL())
		phone := s.Register()
		via := func(proxy string) error {
			options := trust(t, s)
			options["proxy"] = proxy
			_, err := newDispatcher(t, s, options).Dispatch(t.Context(), message(phone))
			return err
		}
		if err := via("{env.OUTBOUND_PROXY}"); err != nil {
			t.Fatal(err)
		}
		// Two requests in absolute form, or one tunnel that HTTP/2 shares.
		want := proxy.Counts{Requests: 2}
		if secure {
			want = proxy.Counts{Connects: 1}
		}
		if got := p.Counts(); got != want || others.Counts() != (proxy.Counts{}) {
			t.Errorf("the proxy saw %+v, want %+v; that of the environment %+v", got, want, others.Counts())
		}
		dispatcherstest.WantFailure(t, via(strings.Replace(p.URL(), "sidecar", "canary", 1)), dispatchers.Broken, "proxy", "canary")
		p.Refuse(http.StatusServiceUnavailable)
		if e := dispatchers.AsError(via(p.URL())); e.Class != dispatchers.Temporary {
			t.Errorf("a proxy that fails: %v, want temporary", e)
		}
		if len(s.Unread(phone)) != 1 || len(s.Requests()) != 2 {
			t.Error("a request went past the proxy")
		}
	}
}

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

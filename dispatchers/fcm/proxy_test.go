package fcm

import (
	"net/http"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
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

package httpclient

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice/squidtest"
	"github.com/oob-dispatch/oob-dispatch/simulator/proxy"
)

// trustBoth returns a file with the certificates of the file and the others.
func trustBoth(t *testing.T, file string, others []byte) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return testservice.File(t, "both.pem", slices.Concat(content, others))
}

func hostOf(url string) string {
	_, host, _ := strings.Cut(url, "://")
	return host
}

func TestSquid(t *testing.T) {
	forbidden, overloaded := "127.0.0.1:4033", "127.0.0.1:5022"
	for scheme, secure := range map[string]bool{"http": false, "https": true} {
		t.Run(scheme, func(t *testing.T) {
			server, ca := startTLS(t, nil)
			plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			defer plain.Close()
			p := squidtest.Start(t, squidtest.Options{
				User: "sidecar", Password: "p:ä@ %w", TLS: secure,
				Refuse: map[string]int{forbidden: http.StatusForbidden, overloaded: http.StatusBadGateway},
			})
			o := Options{CA: trustBoth(t, ca, p.CA(t)), Proxy: p.URL()}
			for _, url := range []string{server, plain.URL} {
				if _, err := get(t, o, url); err != nil {
					t.Errorf("%s: %v", url, err)
				}
			}
			want := []squidtest.Request{
				{Method: "CONNECT", URL: hostOf(server), User: "sidecar", Status: 200},
				{Method: "GET", URL: plain.URL + "/", User: "sidecar", Status: 200},
			}
			got := p.Requests(t, len(want))
			slices.SortFunc(got, func(a, b squidtest.Request) int { return strings.Compare(a.Method, b.Method) })
			if !slices.Equal(got, want) {
				t.Errorf("the proxy saw %v, want %v", got, want)
			}
			refusals(t, o, p, map[string]string{
				server: p.URLAs("sidecar", "canary"), "https://" + forbidden: p.URL(),
				"https://" + overloaded: p.URL(), "https://" + testservice.FreeAddress(t): p.URL(),
			})
			noWay(t, o, p, server, ca, secure)
		})
	}
}

// refusals checks what the answers of Squid to CONNECT mean, by the URL that
// is asked for.
func refusals(t *testing.T, o Options, p *squidtest.Proxy, proxies map[string]string) {
	t.Helper()
	for url, via := range proxies {
		o.Proxy = via
		_, err := get(t, o, url)
		e := Explain("sending", err)
		class, text := dispatchers.Temporary, "sending: the proxy answered 50"
		switch {
		case via != p.URL():
			class, text = dispatchers.Broken, "the proxy answered 407 Proxy Authentication Required: check user and password in proxy"
		case strings.HasSuffix(url, ":4033"):
			class, text = dispatchers.Broken, "the proxy answered 403 Forbidden"
		}
		if err == nil || e.Class != class || e.Reason != ReasonProxy || !strings.Contains(e.Error(), text) || strings.Contains(e.Error(), "canary") {
			t.Errorf("%s: got %v, want proxy (%s) with %q", url, e, class, text)
		}
	}
}

// noWay checks what is said where nothing can be said to the proxy.
func noWay(t *testing.T, o Options, p *squidtest.Proxy, server, ca string, secure bool) {
	t.Helper()
	check := func(name string, o Options, class dispatchers.Class, reason, text string) {
		t.Helper()
		_, err := get(t, o, server)
		e := Explain("sending", err)
		if err == nil || e.Class != class || e.Reason != reason || !strings.Contains(e.Error(), "sending: connecting to the proxy: "+text) {
			t.Errorf("%s: got %v, want %s (%s) with %q", name, e, reason, class, text)
		}
	}
	if secure {
		check("a proxy that is not trusted", Options{CA: ca, Proxy: o.Proxy}, dispatchers.Broken, ReasonTLS, "tls: failed to verify")
	} else {
		other := strings.Replace(o.Proxy, "http:", "https:", 1)
		check("a proxy without TLS", Options{CA: o.CA, Proxy: other}, dispatchers.Broken, ReasonTLS, "the server does not speak TLS")
	}
	p.Stop()
	check("a proxy that is down", o, dispatchers.Temporary, ReasonConnection, "dial tcp")
}

// A proxy that speaks HTTP/2 to others is asked for a tunnel in HTTP/1.1, and
// inside it HTTP/2 is spoken all the same.
func TestProxyThatPrefersHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.Proto))
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	p, err := proxy.Start(proxy.Options{User: "user", Password: "password", TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	o := Options{CA: testservice.File(t, "ca.pem", slices.Concat(p.CA(), pemOf(s.Certificate()))), Proxy: p.URL()}
	if proto, err := get(t, o, s.URL); err != nil || proto != "HTTP/2.0" {
		t.Errorf("got %q, %v", proto, err)
	}
	if got := p.Counts(); got != (proxy.Counts{Connects: 1}) {
		t.Errorf("the proxy saw %+v", got)
	}
}

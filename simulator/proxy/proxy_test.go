package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

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

// echo answers with the credentials for the proxy that it should not see.
func echo(t *testing.T, secure bool) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "here"+r.Header.Get("Proxy-Authorization"))
	}))
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, server *httptest.Server, proxy string) (int, string, error) {
	t.Helper()
	u, err := url.Parse(proxy)
	if err != nil {
		t.Fatal(err)
	}
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.Proxy = http.ProxyURL(u)
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := transport.RoundTrip(r)
	if err != nil {
		return 0, "", err
	}
	defer w.Body.Close()
	body, err := io.ReadAll(w.Body)
	return w.StatusCode, string(body), err
}

func TestBothForms(t *testing.T) {
	s := start(t, Options{User: "u", Password: "p:w"})
	plain, secure := echo(t, false), echo(t, true)
	for _, server := range []*httptest.Server{plain, secure} {
		if status, body, err := get(t, server, s.URL()); err != nil || status != 200 || body != "here" {
			t.Errorf("got %d, %q, %v", status, body, err)
		}
	}
	if got := s.Counts(); got != (Counts{Requests: 1, Connects: 1}) {
		t.Errorf("counted %+v", got)
	}
	want := []string{strings.TrimPrefix(plain.URL, "http://"), strings.TrimPrefix(secure.URL, "https://")}
	if got := s.Hosts(); !slices.Equal(got, want) {
		t.Errorf("hosts %v, want %v", got, want)
	}
}

func TestCredentialsAreDemanded(t *testing.T) {
	s := start(t, Options{User: "u", Password: "p"})
	plain, secure := echo(t, false), echo(t, true)
	for _, proxy := range []string{"http://" + s.Addr(), "http://u:x@" + s.Addr(), "http://x:p@" + s.Addr()} {
		if status, _, err := get(t, plain, proxy); err != nil || status != http.StatusProxyAuthRequired {
			t.Errorf("%s: got %d, %v", proxy, status, err)
		}
		if _, _, err := get(t, secure, proxy); err == nil {
			t.Errorf("%s: a tunnel was opened", proxy)
		}
	}
	if got := s.Counts(); got != (Counts{Refused: 6}) {
		t.Errorf("counted %+v", got)
	}
}

func TestCloseEndsTunnels(t *testing.T) {
	s := start(t, Options{})
	server := echo(t, true)
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	host := strings.TrimPrefix(server.URL, "https://")
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", host, host); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("got %q, %v", line, err)
	}
	s.Close()
	if _, err := io.Copy(io.Discard, r); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the tunnel ended with %v", err)
	}
}

package httpsend

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// post makes the request of a dispatcher.
func post(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDo(t *testing.T) {
	var redirected atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/target")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/target", func(http.ResponseWriter, *http.Request) { redirected.Store(true) })
	mux.HandleFunc("/huge", func(w http.ResponseWriter, _ *http.Request) {
		for chunk := bytes.Repeat([]byte("x"), 1<<20); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	transport := &httpclient.Transport{Transport: new(http.Transport)}
	defer transport.CloseIdleConnections()
	service := Service{Doing: "asking", Transport: transport}

	for path, want := range map[string]int{
		"/redirect": http.StatusTemporaryRedirect, "/huge": http.StatusOK, "/endless": http.StatusAccepted, "/none": http.StatusNotFound,
	} {
		answer, err := service.Do(t.Context(), post(t, s.URL+path))
		if err != nil || answer.Status != want || answer.Header.Get("Date") == "" || answer.Body != nil {
			t.Errorf("%s: got %+v, %v; want %d", path, answer, err, want)
		}
	}
	if redirected.Load() {
		t.Error("a redirect was followed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := service.Do(ctx, post(t, s.URL)); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

func TestDoKeepsTheConnection(t *testing.T) {
	var peers []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peers = append(peers, r.RemoteAddr)
		_, _ = w.Write(make([]byte, MaxBody-1))
	}))
	defer s.Close()
	transport := &httpclient.Transport{Transport: new(http.Transport)}
	defer transport.CloseIdleConnections()
	service := Service{Transport: transport}
	for range 3 {
		if _, err := service.Do(t.Context(), post(t, s.URL)); err != nil {
			t.Fatal(err)
		}
	}
	if len(peers) != 3 || peers[0] != peers[1] || peers[1] != peers[2] {
		t.Errorf("requests came from %v, want one connection", peers)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	size := MaxBody
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, size)) }))
	defer s.Close()
	transport := &httpclient.Transport{Transport: new(http.Transport)}
	defer transport.CloseIdleConnections()
	service := Service{ReadsBody: true, Transport: transport}
	if answer, err := service.Do(t.Context(), post(t, s.URL)); err != nil || len(answer.Body) != MaxBody {
		t.Errorf("an answer of the largest size: %d bytes, %v", len(answer.Body), err)
	}
	size++
	if answer, err := service.Do(t.Context(), post(t, s.URL)); !errors.Is(err, ErrBodyTooBig) || answer.Status != http.StatusOK {
		t.Errorf("a larger one: %d, %v", answer.Status, err)
	}
}

// A row of the service comes before the common ones, and the status before its
// class.
func TestTable(t *testing.T) {
	own := Table{429: {Reason: "own"}, 4: {Reason: "own_class"}}
	for status, want := range map[int]string{
		429: "own", 400: "own_class", 408: "timeout", 413: "too_big", 500: "unavailable", 302: "redirect", 799: "unexpected_status", 204: "unexpected_status",
	} {
		if got := own.meaning(status).Reason; got != want {
			t.Errorf("%d: got %s, want %s", status, got, want)
		}
	}
}

// A reload does not wait for requests: their connections end with them.
func TestConnectionsEndAfterClose(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		open, release := make(map[net.Conn]bool), make(chan struct{})
		var mu sync.Mutex
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
		s.EnableHTTP2 = http2
		s.Config.ConnState = func(c net.Conn, state http.ConnState) {
			mu.Lock()
			defer mu.Unlock()
			if open[c] = true; state == http.StateClosed {
				delete(open, c)
			}
		}
		s.StartTLS()
		service := Service{Transport: &httpclient.Transport{Transport: s.Client().Transport.(*http.Transport).Clone()}}
		service.Transport.ForceAttemptHTTP2 = http2
		var requests sync.WaitGroup
		for range 2 { // the second begins after the first has ended
			requests.Go(func() {
				if _, err := service.Do(t.Context(), post(t, s.URL)); err != nil {
					t.Error(err)
				}
			})
			service.Close()
			release <- struct{}{}
			requests.Wait()
		}
		testservice.Until(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(open) == 0 }, func() string { return "an idle connection stays" })
		s.Close()
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	tests := map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"17":                            17 * time.Second,
		"3600":                          time.Hour,
		"86400":                         time.Hour,
		"99999999999999999999":          time.Hour,
		"-5":                            0,
		"1.5":                           0,
		"soon":                          0,
		"Mon, 23 Nov 2026 12:01:30 GMT": 90 * time.Second,
		"Mon, 23 Nov 2026 11:00:00 GMT": 0,
		"Mon, 23 Nov 2037 12:00:00 GMT": time.Hour,
	}
	for value, want := range tests {
		if got := RetryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}

package httpclient

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
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

func TestStatus(t *testing.T) {
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
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()

	for path, want := range map[string]int{
		"/redirect": http.StatusTemporaryRedirect, "/huge": http.StatusOK, "/endless": http.StatusAccepted, "/none": http.StatusNotFound,
	} {
		status, header, err := Status(t.Context(), transport, post(t, s.URL+path))
		if err != nil || status != want || header.Get("Date") == "" {
			t.Errorf("%s: got %d, %v, %v; want %d", path, status, header, err, want)
		}
	}
	if redirected.Load() {
		t.Error("a redirect was followed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Status(ctx, transport, post(t, s.URL)); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

func TestStatusKeepsTheConnection(t *testing.T) {
	var peers []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peers = append(peers, r.RemoteAddr)
		_, _ = w.Write(make([]byte, maxBody-1))
	}))
	defer s.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for range 3 {
		if _, _, err := Status(t.Context(), transport, post(t, s.URL)); err != nil {
			t.Fatal(err)
		}
	}
	if len(peers) != 3 || peers[0] != peers[1] || peers[1] != peers[2] {
		t.Errorf("requests came from %v, want one connection", peers)
	}
}

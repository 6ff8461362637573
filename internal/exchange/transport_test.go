package exchange

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// proxyTo forwards requests as a reverse proxy does.
func proxyTo(server string, transport *http.Transport) Next {
	return func(w http.ResponseWriter, r *http.Request) error {
		outgoing := r.Clone(r.Context())
		outgoing.RequestURI = ""
		outgoing.URL.Scheme, outgoing.URL.Host = "http", server
		response, err := transport.RoundTrip(outgoing)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		w.WriteHeader(response.StatusCode)
		_, err = io.Copy(w, response.Body)
		return err
	}
}

// nevisFIDO would make another token of a request that is repeated, and Go's
// transport repeats those with an Idempotency-Key when a connection breaks.
func TestNothingIsForwardedTwice(t *testing.T) {
	for name, call := range map[string]struct{ path, body string }{
		"a dispatch":           {authentication, ""},
		"one of nevisFIDO's":   {authentication, `{"dispatcher":"foreign"}`},
		"the create of one":    {targetsPath, `{"dispatcher":"push"}`},
		"a UAF registration":   {"/nevisfido/uaf/1.1/registration", `{"context":"{}"}`},
		"an observed dispatch": {authentication, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.push()
			h.ObserveOnly = strings.Contains(name, "observed")
			if call.body == "" {
				call.body = h.body("push")
			}
			var requests atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if requests.Add(1); r.URL.Path == "/warm" {
					return
				}
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				conn.Close()
			}))
			defer server.Close()
			transport := new(http.Transport)
			defer transport.CloseIdleConnections()
			next := proxyTo(strings.TrimPrefix(server.URL, "http://"), transport)
			if err := next(httptest.NewRecorder(), newRequest(t, http.MethodGet, "/warm", "")); err != nil {
				t.Fatal(err)
			}
			r := newRequest(t, http.MethodPost, call.path, call.body)
			r.Header.Set("Idempotency-Key", "1")
			if err := h.ServeHTTP(httptest.NewRecorder(), r, next); err == nil {
				t.Error("an answer that never came was not reported")
			}
			if n := requests.Load() - 1; n != 1 {
				t.Errorf("forwarded %d times", n)
			}
		})
	}
}

// A caller cannot have a hop-by-hop option remove what keeps answers readable.
func TestIdentityIsAskedFor(t *testing.T) {
	for connection, want := range map[string]string{
		"":                                 "",
		"keep-alive":                       "keep-alive",
		"Accept-Encoding":                  "",
		"close, accept-encoding , X-Other": "close, X-Other",
	} {
		h := newHarness(t)
		h.push()
		r := newRequest(t, http.MethodPost, authentication, h.body("push"))
		if connection != "" {
			r.Header.Set("Connection", connection)
		}
		r.Header.Set("Accept-Encoding", "gzip")
		h.send(r)
		forwarded := h.upstream.one(t)
		if got := forwarded.header.Get("Connection"); got != want || forwarded.header.Get("Accept-Encoding") != "identity" {
			t.Errorf("%q: Connection is %q, Accept-Encoding %q", connection, got, forwarded.header.Get("Accept-Encoding"))
		}
	}
}

// deadlined is an answer on a connection with a read deadline.
type deadlined struct {
	http.ResponseWriter
	conn net.Conn
}

func (d deadlined) SetReadDeadline(t time.Time) error { return d.conn.SetReadDeadline(t) }

// A body that comes by the byte is not waited for without end, nor for longer
// than the server would, also where it streams through.
func TestDrippingBody(t *testing.T) {
	for name, test := range map[string]struct {
		limit  int64
		server time.Duration // its read timeout
		ends   time.Duration
	}{
		"of a server without a timeout":   {64 << 10, 0, readTime},
		"of a server with a shorter one":  {64 << 10, 5 * time.Second, 5 * time.Second},
		"of a server with a longer one":   {64 << 10, time.Minute, readTime},
		"too large, with a short timeout": {3, 5 * time.Second, 5 * time.Second},
		"too large, with a long timeout":  {3, time.Minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, client := net.Pipe()
				defer server.Close()
				done := make(chan struct{})
				go func() {
					defer close(done)
					for {
						if _, err := client.Write([]byte(" ")); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				}()
				ctx := context.WithValue(t.Context(), http.ServerContextKey, &http.Server{ReadTimeout: test.server})
				r := httptest.NewRequestWithContext(ctx, http.MethodPost, authentication, bufio.NewReader(server))
				r.ContentLength = -1
				start := time.Now()
				_, err := readBody(deadlined{httptest.NewRecorder(), server}, r, test.limit)
				if errors.Is(err, errTooLarge) {
					_, err = io.Copy(io.Discard, r.Body)
				}
				if err == nil || time.Since(start) != test.ends {
					t.Errorf("it ended after %s: %v", time.Since(start), err)
				}
				client.Close()
				<-done
			})
		})
	}
}

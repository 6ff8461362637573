package nevis

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// wire sends a dispatch request over a connection of its own and returns all
// bytes of the answer.
func wire(t *testing.T, address string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := mustRequest(t, address+dispatchAuth, authBody(`"dispatcher":"link"`))
	r.Close = true
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func TestFaultsWhoseAnswerCanBeRead(t *testing.T) {
	tests := []struct {
		name  string
		fault Fault
		check func(t *testing.T, r *http.Response, body string)
	}{
		{"verbatim", Answer(418, http.Header{"X-A": {"1", "2"}}, "body"), func(t *testing.T, r *http.Response, body string) {
			if r.StatusCode != 418 || len(r.Header["X-A"]) != 2 || body != "body" {
				t.Errorf("got %d %v %q", r.StatusCode, r.Header, body)
			}
		}},
		{"HTML", HTML(), func(t *testing.T, r *http.Response, _ string) {
			if r.StatusCode != 200 || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
				t.Errorf("got %d %v", r.StatusCode, r.Header)
			}
		}},
		{"redirect", Redirect("https://login.example.com/"), func(t *testing.T, r *http.Response, _ string) {
			if r.StatusCode != 302 || r.Header.Get("Location") != "https://login.example.com/" {
				t.Errorf("got %d %v", r.StatusCode, r.Header)
			}
		}},
		{"a dispatch result", Result("dispatcherNotFound"), func(t *testing.T, _ *http.Response, body string) {
			if body != `{"dispatchResult":"dispatcherNotFound"}` {
				t.Errorf("got %s", body)
			}
		}},
		{"without token", WithoutToken(), func(t *testing.T, _ *http.Response, body string) {
			if m, err := parse([]byte(body)); err != nil || m.has("token") || !m.has("sessionId") {
				t.Errorf("got %s, %v", body, err)
			}
		}},
		{"a long token", LongToken(1 << 20), func(t *testing.T, _ *http.Response, body string) {
			m, err := parse([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			if token, err := m.text("token"); err != nil || len(token) != 1<<20 {
				t.Errorf("got a token of %d bytes, %v", len(token), err)
			}
		}},
		{"wrong types", WrongTypes(), func(t *testing.T, _ *http.Response, body string) {
			m, err := parse([]byte(body))
			if err != nil || string(m["token"]) != "4711" || string(m["dispatcherInformation"]) != "[]" {
				t.Errorf("got %s, %v", body, err)
			}
		}},
		{"extra members", ExtraMembers(), func(t *testing.T, _ *http.Response, body string) {
			if !json.Valid([]byte(body)) || !strings.Contains(body, `"x-serial" : 12345678901234567890123,`) {
				t.Errorf("got %s", body)
			}
		}},
		{"incremental", Incremental(), func(t *testing.T, r *http.Response, body string) {
			if r.Header.Get("Incremental") != "?1" || !json.Valid([]byte(body)) {
				t.Errorf("got %v", r.Header)
			}
		}},
		{"gzip", Gzip(), func(t *testing.T, r *http.Response, body string) {
			z, err := gzip.NewReader(strings.NewReader(body))
			if err != nil || r.Header.Get("Content-Encoding") != "gzip" {
				t.Fatalf("got %v, %v", r.Header, err)
			}
			if plain, err := io.ReadAll(z); err != nil || !json.Valid(plain) {
				t.Errorf("got %s, %v", plain, err)
			}
		}},
		{"slow", Slow(time.Millisecond), func(t *testing.T, r *http.Response, body string) {
			if r.StatusCode != 200 || !json.Valid([]byte(body)) {
				t.Errorf("got %d %s", r.StatusCode, body)
			}
		}},
		{"an edit that empties", Edit(func([]byte) []byte { return nil }), func(t *testing.T, r *http.Response, body string) {
			if r.StatusCode != 200 || body != "" {
				t.Errorf("got %d %q", r.StatusCode, body)
			}
		}},
		{"a script that is over", Regular, func(t *testing.T, r *http.Response, body string) {
			if m, err := parse([]byte(body)); err != nil || r.StatusCode != 200 || !m.has("token") {
				t.Errorf("got %d %s", r.StatusCode, body)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c := start(t, Options{})
			s.Script(tt.fault)
			got := wire(t, c.address)
			r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			tt.check(t, r, string(body))
		})
	}
}

func TestFaultsOnTheWire(t *testing.T) {
	s, c := start(t, Options{})
	read := func(text string) (body string, err error) {
		r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
		if err != nil {
			return "", err
		}
		defer r.Body.Close()
		got, err := io.ReadAll(r.Body)
		return string(got), err
	}

	s.Script(EarlyHints())
	if got := wire(t, c.address); !strings.HasPrefix(got, "HTTP/1.1 103 ") || strings.Count(got, "HTTP/1.1 200 ") != 1 {
		t.Errorf("early hints: got %q", got)
	}
	s.Script(LongLength(7))
	if body, err := read(wire(t, c.address)); !errors.Is(err, io.ErrUnexpectedEOF) || !json.Valid([]byte(body)) {
		t.Errorf("a long length: got %q, %v", body, err)
	}
	s.Script(ShortLength(7))
	got := wire(t, c.address)
	if body, err := read(got); err != nil || json.Valid([]byte(body)) || !strings.Contains(got, body+`tched"}`) {
		t.Errorf("a short length: got %q, %v", got, err)
	}
	s.Script(TruncatedChunks())
	if body, err := read(wire(t, c.address)); !errors.Is(err, io.ErrUnexpectedEOF) || body == "" {
		t.Errorf("truncated chunks: got %q, %v", body, err)
	}
	s.Script(CloseConnection())
	if got := wire(t, c.address); got != "" {
		t.Errorf("a closed connection: got %q", got)
	}
	if created, _ := s.Tokens(); created != 5 {
		t.Errorf("%d tokens were created, want one for each call", created)
	}
}

func TestEndlessAnswerEndsWithTheCaller(t *testing.T) {
	s, c := start(t, Options{})
	s.Script(Endless())
	r := mustRequest(t, c.address+dispatchAuth, authBody(`"dispatcher":"link"`))
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	const enough = 1 << 20
	n, err := io.Copy(io.Discard, io.LimitReader(response.Body, enough))
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
	if n != enough || err != nil {
		t.Errorf("got %d bytes, %v", n, err)
	}
	if created, _ := s.Tokens(); created != 0 {
		t.Error("a token was created")
	}
}

func TestHeldAnswer(t *testing.T) {
	s, c := start(t, Options{})
	release := make(chan struct{})
	served := make(chan struct{})
	s.Script(func(regular http.Handler) http.Handler {
		return Hold(release)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			regular.ServeHTTP(w, r)
			close(served)
		}))
	}, Hold(release))

	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := http.DefaultTransport.RoundTrip(mustRequest(t, c.address+dispatchAuth, authBody(`"dispatcher":"link"`)).WithContext(ctx))
		gone <- err
	}()
	<-served
	cancel()
	if err := <-gone; err == nil {
		t.Error("the answer was not held")
	}
	close(release)
	if got := wire(t, c.address); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("got %q", got)
	}
}

func TestFaultsAreTakenOncePerCall(t *testing.T) {
	s := New(Options{})
	const calls = 40
	for range calls / 2 {
		s.Script(Result("internalError"))
	}
	var wg sync.WaitGroup
	failures := make(chan bool, calls)
	for range calls {
		r := mustRequest(t, dispatchAuth, authBody(`"dispatcher":"link"`))
		wg.Go(func() {
			failures <- bytes.Contains(record(s, r).body.Bytes(), []byte("internalError"))
		})
	}
	wg.Wait()
	close(failures)
	n := 0
	for failed := range failures {
		if failed {
			n++
		}
	}
	if created, _ := s.Tokens(); n != calls/2 || created != calls/2 {
		t.Errorf("%d calls failed and %d made a token, want %d each", n, created, calls/2)
	}
}

package exchange

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func isOK(status int, _ http.Header) bool { return status == http.StatusOK }

// write fails the reverse proxy's way: an error of Write aborts the connection.
func write(w http.ResponseWriter, parts ...string) {
	for _, part := range parts {
		if n, err := io.WriteString(w, part); err != nil || n != len(part) {
			panic(fmt.Sprintf("wrote %d of %d bytes: %v", n, len(part), err))
		}
	}
}

func TestRecorderKeepsItsHeaderToItself(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Alt-Svc", "h3")
	rec := newRecorder(w, 10, isOK)
	rec.Header().Set("X-Upstream", "1")
	rec.Header().Set("Alt-Svc", "upstream")
	rec.Header().Set("Trailer", "X-Late")
	held := rec.Header()
	write(rec, "abc")
	held.Set("X-Late", "1")
	rec.Header().Set("X-Later", "1") // a trailer
	if len(w.Header()) != 1 || w.Header().Get("Alt-Svc") != "h3" {
		t.Errorf("before the decision the caller's header is %v", w.Header())
	}
	if err := rec.relay(); err != nil {
		t.Fatal(err)
	}
	if h := w.Header(); h.Get("X-Upstream") != "1" || h.Get("Alt-Svc") != "upstream" || len(h) != 2 {
		t.Errorf("relayed header %v", h)
	}
	if w.Body.String() != "abc" {
		t.Errorf("relayed %q", w.Body)
	}
}

func TestRecorderStreamsTrailersAndFlushes(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		rec := newRecorder(w, 10, func(int, http.Header) bool { return false })
		rec.Header().Set("Trailer", "X-Late")
		write(rec, "abc")
		if err := http.NewResponseController(rec).Flush(); err != nil {
			t.Error(err)
		}
		rec.Header().Set("X-Late", "1")
	}))
	defer server.Close()
	resp, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "abc" || resp.Trailer.Get("X-Late") != "1" {
		t.Errorf("got %q, trailer %v", body, resp.Trailer)
	}
}

func TestRecorderDoesNotFlushWhatIsHeldBack(t *testing.T) {
	w := httptest.NewRecorder()
	rec := newRecorder(w, 10, isOK)
	for range 2 {
		if err := http.NewResponseController(rec).Flush(); err != nil || w.Flushed {
			t.Errorf("flushed %v, %v", w.Flushed, err)
		}
		write(rec, "abc")
	}
	if _, _, err := http.NewResponseController(rec).Hijack(); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("hijacking: %v", err)
	}
	if rec.Unwrap() != w {
		t.Error("the writer below is hidden from http.ResponseController")
	}
}

type brokenWriter struct{ http.ResponseWriter }

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestCallerGoneWhileAnswering(t *testing.T) {
	rec := newRecorder(brokenWriter{httptest.NewRecorder()}, 100, isOK)
	write(rec, "abc")
	if err := rec.replace([]byte("{}")); err == nil || !strings.Contains(err.Error(), "answering the caller") {
		t.Errorf("got %v", err)
	}
}

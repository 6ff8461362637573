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

func TestRecorder(t *testing.T) {
	type state = recorderState
	for name, c := range map[string]struct {
		play           func(http.ResponseWriter)
		passOnOverflow bool
		state          state
		held           string
		sent           string // to the caller
	}{
		"held back": {
			play:  func(w http.ResponseWriter) { w.WriteHeader(200); write(w, "abc", "def") },
			state: holding, held: "abcdef",
		},
		"status left out": {
			play:  func(w http.ResponseWriter) { write(w, "abc") },
			state: holding, held: "abc",
		},
		"exactly the limit": {
			play:  func(w http.ResponseWriter) { write(w, "12345", "67890") },
			state: holding, held: "1234567890",
		},
		"one byte more": {
			play:  func(w http.ResponseWriter) { write(w, "12345", "67890", "1", "more") },
			state: refused,
		},
		"one byte more, spilling": {
			play:           func(w http.ResponseWriter) { write(w, "12345", "67890", "1", "more") },
			passOnOverflow: true, state: streaming, sent: "12345678901more",
		},
		"declared too long": {
			play:  func(w http.ResponseWriter) { w.Header().Set("Content-Length", "11"); write(w, "1") },
			state: refused,
		},
		"declared too long, spilling": {
			play:           func(w http.ResponseWriter) { w.Header().Set("Content-Length", "11"); write(w, "12345678901") },
			passOnOverflow: true, state: streaming, sent: "12345678901",
		},
		"lies about its length": {
			play:  func(w http.ResponseWriter) { w.Header().Set("Content-Length", "3"); write(w, "1234567890", "1") },
			state: refused,
		},
		"absurd length": {
			play:  func(w http.ResponseWriter) { w.Header().Set("Content-Length", "-1 or more"); write(w, "1") },
			state: holding, held: "1",
		},
		"another status": {
			play:  func(w http.ResponseWriter) { w.WriteHeader(404); write(w, "none", "more than the limit") },
			state: streaming, sent: "nonemore than the limit",
		},
		"early hints first": {
			play:  func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(200); write(w, "abc") },
			state: holding, held: "abc",
		},
		"only early hints":    {play: func(w http.ResponseWriter) { w.WriteHeader(103) }, state: waiting},
		"switching protocols": {play: func(w http.ResponseWriter) { w.WriteHeader(101) }, state: waiting},
		"nothing":             {play: func(http.ResponseWriter) {}, state: waiting},
		"status twice": {
			play:  func(w http.ResponseWriter) { w.WriteHeader(200); w.WriteHeader(500); write(w, "abc") },
			state: holding, held: "abc",
		},
		"gzip": {
			play:  func(w http.ResponseWriter) { w.Header().Set("Content-Encoding", "gzip"); write(w, "abc") },
			state: refused,
		},
		"gzip, spilling": {
			play:           func(w http.ResponseWriter) { w.Header().Set("Content-Encoding", "gzip"); write(w, "abc") },
			passOnOverflow: true, state: streaming, sent: "abc",
		},
		"identity": {
			play:  func(w http.ResponseWriter) { w.Header().Set("Content-Encoding", "Identity"); write(w, "abc") },
			state: holding, held: "abc",
		},
		"identity and gzip": {
			play: func(w http.ResponseWriter) {
				w.Header()["Content-Encoding"] = []string{"identity", "gzip"}
				write(w, "abc")
			},
			state: refused,
		},
		"incremental": {
			play:  func(w http.ResponseWriter) { w.Header().Set("Incremental", "?1;x=1"); write(w, "abc") },
			state: refused,
		},
		"not incremental": {
			play:  func(w http.ResponseWriter) { w.Header().Set("Incremental", "?0"); write(w, "abc") },
			state: holding, held: "abc",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			rec := newRecorder(w, 10, isOK)
			rec.passOnOverflow = c.passOnOverflow
			c.play(rec)
			if rec.state != c.state {
				t.Fatalf("state %d, want %d", rec.state, c.state)
			}
			if (rec.state == refused) != (rec.reason != "") {
				t.Errorf("reason %q", rec.reason)
			}
			if got := rec.body.String(); got != c.held {
				t.Errorf("held back %q, want %q", got, c.held)
			}
			if got := w.Body.String(); got != c.sent {
				t.Errorf("sent %q, want %q", got, c.sent)
			}
			if c.state != streaming && len(w.Header()) != 0 {
				t.Errorf("sent header %v", w.Header())
			}
		})
	}
}

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

func TestReplace(t *testing.T) {
	w := httptest.NewRecorder()
	rec := newRecorder(w, 100, isOK)
	for _, name := range describesBody {
		rec.Header().Set(name, "x")
	}
	rec.Header().Set("Trailer", "Digest")
	rec.Header().Set("Content-Length", "3")
	rec.Header().Set("Cache-Control", "max-age=60")
	rec.Header().Set("X-Kept", "1")
	write(rec, "abc")
	const body = `{"a":"much longer"}`
	if err := rec.replace([]byte(body)); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"Content-Length": fmt.Sprint(len(body)), "Content-Type": "application/json", "Cache-Control": "no-store", "X-Kept": "1",
	}
	for name, value := range want {
		if got := w.Header().Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	if len(w.Header()) != len(want) || w.Body.String() != body {
		t.Errorf("got %v\n%s", w.Header(), w.Body)
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

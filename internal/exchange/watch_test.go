package exchange

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/shapes"
)

// What is looked at passes as it is, whatever its size, and is not collected
// where nevisFIDO gave no answer, or where the sidecar intercepts.
func TestWatch(t *testing.T) {
	large := strings.Repeat("x", 2*maxTargetBody)
	broken := errors.New("nevisFIDO is away")
	for name, tt := range map[string]struct {
		intercept   bool
		path, body  string
		answer      Next
		wantRequest string // its types
		wantAnswer  string
	}{
		"a dispatch": {path: authentication, body: `{"dispatcher":"link"}`, wantRequest: "object ×1", wantAnswer: "object ×1"},
		"large ones": {
			path: targetsPath, body: large, wantRequest: "too large to be read ×1", wantAnswer: "too large to be read ×1",
			answer: func(w http.ResponseWriter, _ *http.Request) error {
				_, err := w.Write([]byte(large))
				return err
			},
		},
		"a content-coded answer": {
			path: targetsPath, body: `{}`, wantRequest: "object ×1", wantAnswer: "content-coded ×1",
			answer: func(w http.ResponseWriter, _ *http.Request) error {
				w.Header().Set("Content-Encoding", "br")
				_, err := w.Write([]byte("br"))
				return err
			},
		},
		"a flush": {
			path: targetsPath, body: `{}`, wantRequest: "object ×1", wantAnswer: "array ×1",
			answer: func(w http.ResponseWriter, _ *http.Request) error {
				_, err := w.Write([]byte("["))
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
				_, _ = w.Write([]byte("1]"))
				return err
			},
		},
		"no answer":             {path: authentication, body: `{}`, answer: func(http.ResponseWriter, *http.Request) error { return broken }, wantRequest: "nothing", wantAnswer: "nothing"},
		"another call":          {path: "/nevisfido/status", body: `{}`, wantRequest: "nothing", wantAnswer: "nothing"},
		"what is intercepted":   {intercept: true, path: authentication, body: `{"dispatcher":"link"}`, wantRequest: "nothing", wantAnswer: "nothing"},
		"a call beside the API": {path: "/other/token/dispatch/authentication", body: `{}`, wantRequest: "nothing", wantAnswer: "nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			file := filepath.Join(t.TempDir(), "shapes.json")
			collector, err := shapes.Open(file, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			h.Shapes, h.ObserveOnly = collector, !tt.intercept
			answer := tt.answer
			if answer == nil {
				answer = func(w http.ResponseWriter, _ *http.Request) error {
					_, err := w.Write([]byte(`{"dispatchResult":"userNotFound"}`))
					return err
				}
			}
			h.upstream.answer = answer
			request := func() *http.Request {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, tt.path, strings.NewReader(tt.body))
				r.Header.Set("Content-Type", "application/json")
				return r
			}
			got, direct := httptest.NewRecorder(), httptest.NewRecorder()
			gotErr, wantErr := h.ServeHTTP(got, request(), h.upstream.next), h.upstream.next(direct, request())
			if got.Code != direct.Code || got.Body.String() != direct.Body.String() || !errors.Is(gotErr, wantErr) {
				t.Errorf("status %d, %d bytes, %v; without the sidecar %d, %d bytes, %v",
					got.Code, got.Body.Len(), gotErr, direct.Code, direct.Body.Len(), wantErr)
			}
			if calls := h.upstream.calls(); calls[0].body != calls[1].body {
				t.Errorf("nevisFIDO got %d bytes of %d", len(calls[0].body), len(calls[1].body))
			}
			collector.Guessed(1) // so that there is a file
			collector.Close()
			seen, err := shapes.Load(file)
			if err != nil {
				t.Fatal(err)
			}
			call := map[bool]string{true: "create_target", false: "dispatch"}[tt.path == targetsPath]
			if a, b := seen.At(call+" request").Kinds(), seen.At(call+" answer 200").Kinds(); a != tt.wantRequest || b != tt.wantAnswer {
				t.Errorf("seen: %s, %s; want %s, %s", a, b, tt.wantRequest, tt.wantAnswer)
			}
		})
	}
}

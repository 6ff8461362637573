package exchange

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
)

type noOp struct{}

func (noOp) Traits() dispatchers.Traits { return dispatchers.Traits{} }

func (noOp) Dispatch(context.Context, *dispatchers.Message) (dispatchers.Receipt, error) {
	return dispatchers.Receipt{Response: dispatchers.SuccessfulDispatch}, nil
}

// silent is an observer that keeps nothing.
type silent struct{}

func (silent) Exchanged(Record)          {}
func (silent) Limited(dispatchers.Scope) {}
func (silent) Passed(string)             {}
func (silent) Asked(time.Duration)       {}
func (silent) Guessed(nevisfido.Guesses) {}

// One dispatch with sealing, without what nevisFIDO and a third party take.
func BenchmarkDispatch(b *testing.B) {
	for name, key := range map[string]func() (*devicekey.PrivateKey, error){"P-256": deviceKey, "RSA-2048": rsaKey} {
		b.Run(name, func(b *testing.B) {
			h := newHarness(b)
			h.register("push", must[*devicekey.PrivateKey](b)(key()))
			h.push()
			h.Channels["push"].Dispatcher = noOp{}
			h.Observer, h.Log = silent{}, slog.New(slog.DiscardHandler)
			x, body, nevisFIDO := h.exchange(), h.body("push"), h.upstream.answer
			b.ReportAllocs()
			for b.Loop() {
				w := httptest.NewRecorder()
				if err := x.ServeHTTP(w, newRequest(b, http.MethodPost, authentication, body), nevisFIDO); err != nil {
					b.Fatal(err)
				}
				if !strings.Contains(w.Body.String(), `"dispatched"`) {
					b.Fatal(w.Body)
				}
			}
		})
	}
}

// What is not ours goes straight through.
func BenchmarkPassThrough(b *testing.B) {
	h := newHarness(b)
	x, nevisFIDO := h.exchange(), respond(http.StatusOK, `{"status":"tokenCreated"}`)
	b.ReportAllocs()
	for b.Loop() {
		if err := x.ServeHTTP(httptest.NewRecorder(), newRequest(b, http.MethodPost, "/nevisfido/status", `{}`), nevisFIDO); err != nil {
			b.Fatal(err)
		}
	}
}

package dispatchers

import (
	"context"
	"log/slog"
	"time"
)

// NameKey is the key of the value of a Caddy context that a dispatcher is loaded
// with: the name that it is configured by.
type NameKey struct{}

// Context is what Logger needs of the caddy.Context of Provision.
type Context interface {
	context.Context
	Slogger() *slog.Logger
}

// Logger returns the logger of a dispatcher that is being provisioned. Its
// lines name the dispatcher as it is configured.
func Logger(ctx Context) *slog.Logger {
	if name, ok := ctx.Value(NameKey{}).(string); ok {
		return ctx.Slogger().With(slog.String("dispatcher", name))
	}
	return ctx.Slogger()
}

type attemptKey struct{}

type attempt struct {
	all     context.Context // of all attempts
	timeout time.Duration
}

// Attempt returns the context of one attempt, which ends after timeout. It is
// for the caller of Dispatch; ctx ends with all attempts.
func Attempt(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithValue(ctx, attemptKey{}, attempt{ctx, timeout}), timeout)
}

// Begin is for a dispatcher that has waited for its turn, such as for one of a
// few connections: waiting is not sending. It returns the context for the
// attempt proper, which has the whole time of an attempt, as far as there is time
// for all attempts together. Without Attempt it is ctx.
func Begin(ctx context.Context) (context.Context, context.CancelFunc) {
	if a, ok := ctx.Value(attemptKey{}).(attempt); ok {
		return context.WithTimeout(a.all, a.timeout)
	}
	return context.WithCancel(ctx)
}

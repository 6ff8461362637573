package dispatchers

import (
	"context"
	"log/slog"
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

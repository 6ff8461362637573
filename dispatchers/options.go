package dispatchers

import (
	"context"
	"log/slog"
)

// OptionChecker can be implemented in addition to Dispatcher or Composite, so
// that an error in its options names a line of the Caddyfile.
// Stores and key sources can implement it as well.
type OptionChecker interface {
	// CheckOptions looks at how the options go together, and at their values
	// as far as they hold no placeholder. It reads neither files nor the
	// environment, and nothing of it stays: it is called on an instance that is
	// not provisioned, which is thrown away. Traits, too, may be asked of that.
	// The error names the option and what to write instead. JSON does not pass
	// here: call it in Provision as well.
	CheckOptions() error
}

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

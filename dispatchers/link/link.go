// Package link is the dispatcher that answers the caller with a URL that opens
// the app, as nevisFIDO's dispatcher of that name does.
package link

import (
	"context"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Dispatcher answers the caller with a link that carries the message: the
// `base_url` of the dispatcher, or that of nevisFIDO's own link, with the
// parameter `dispatchTokenResponse` added.
type Dispatcher struct{}

// CaddyModule returns the Caddy module information.
func (Dispatcher) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  dispatchers.Namespace + ".link",
		New: func() caddy.Module { return new(Dispatcher) },
	}
}

// CheckOptions implements dispatchers.OptionChecker. There are none.
func (*Dispatcher) CheckOptions() error { return nil }

// Traits implements dispatchers.Dispatcher.
func (*Dispatcher) Traits() dispatchers.Traits {
	return dispatchers.Traits{AnswersCaller: true, BuiltIn: nevisfido.BuiltInLink}
}

// Dispatch implements dispatchers.Dispatcher.
func (*Dispatcher) Dispatch(_ context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
	if m.Link == "" {
		return dispatchers.Receipt{}, dispatchers.Fail(dispatchers.Broken, "base_url",
			"nevisFIDO's answer carries no link: configure base_url of dispatcher %q", m.Dispatcher)
	}
	return dispatchers.Receipt{Response: m.Link}, nil
}

// Interface guards
var (
	_ dispatchers.Dispatcher    = (*Dispatcher)(nil)
	_ dispatchers.OptionChecker = (*Dispatcher)(nil)
)

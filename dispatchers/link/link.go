// Package link is the dispatcher that answers the caller with a URL that opens
// the app, as nevisFIDO's dispatcher of that name does.
package link

import (
	"context"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

func init() { caddy.RegisterModule(Link{}) }

// Link answers the caller with a link that carries the message: the `base_url`
// of the dispatcher, or that of nevisFIDO's own link, with the parameter
// `dispatchTokenResponse` added. It has no options but those that all
// dispatchers have.
type Link struct{}

// CaddyModule returns the Caddy module information.
func (Link) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  dispatchers.Namespace + ".link",
		New: func() caddy.Module { return new(Link) },
	}
}

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens.
func (l *Link) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return conf.Table[Link]{}.Unmarshal(d, l)
}

// Traits implements dispatchers.Dispatcher.
func (*Link) Traits() dispatchers.Traits {
	return dispatchers.Traits{AnswersCaller: true, BuiltIn: nevisfido.BuiltInLink}
}

// Dispatch implements dispatchers.Dispatcher.
func (*Link) Dispatch(_ context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
	if m.Link == "" {
		return dispatchers.Receipt{}, dispatchers.Fail(dispatchers.Broken, "base_url",
			"nevisFIDO's answer carries no link: configure base_url of dispatcher %q", m.Dispatcher)
	}
	return dispatchers.Receipt{Response: m.Link}, nil
}

// Interface guards
var (
	_ dispatchers.Dispatcher = (*Link)(nil)
	_ caddyfile.Unmarshaler  = (*Link)(nil)
)

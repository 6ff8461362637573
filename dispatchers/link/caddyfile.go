package link

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() { caddy.RegisterModule(Dispatcher{}) }

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens. It has no
// options but those that all dispatchers have. Syntax:
//
//	link
func (*Dispatcher) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // type
	if d.NextArg() {
		return d.Errf("unexpected argument %q: link takes none", d.Val())
	}
	for d.NextBlock(0) {
		return d.Errf("unrecognized option %q of link", d.Val())
	}
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Dispatcher)(nil)

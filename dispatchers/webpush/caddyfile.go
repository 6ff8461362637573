package webpush

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
)

func init() { caddy.RegisterModule(Dispatcher{}) }

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens. Syntax:
//
//	web_push {
//		vapid       <path>
//		allow       <host...>
//		proxy       <url>
//		ca          <file>
//		client_cert <cert_file> <key_file>
//	}
//
// allow may repeat.
func (p *Dispatcher) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // type
	if d.NextArg() {
		return d.Err("web_push takes no arguments; its options stand in a block")
	}
	for d.NextBlock(0) {
		if err := p.option(d); err != nil {
			return err
		}
	}
	return nil
}

func (p *Dispatcher) option(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "vapid":
		args := d.RemainingArgs()
		if len(args) != 1 || args[0] == "" || p.VAPID != "" {
			return d.Err("vapid takes one argument, the path of the key file, and stands once")
		}
		if err := placeholder.CheckPath("vapid", args[0]); err != nil {
			return d.WrapErr(err)
		}
		p.VAPID = args[0]
		return nil
	case "allow":
		args := d.RemainingArgs()
		if len(args) == 0 {
			return d.Err("allow takes the hosts of push services")
		}
		if _, err := parseRules(args); err != nil {
			return d.WrapErr(err)
		}
		p.Allow = append(p.Allow, args...)
		return nil
	}
	known, err := httpclient.UnmarshalOption(&p.Options, d)
	if !known {
		return d.Errf("unrecognized option %q of web_push", d.Val())
	}
	return err
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Dispatcher)(nil)

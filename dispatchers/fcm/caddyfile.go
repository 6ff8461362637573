package fcm

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/option"
)

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens. Syntax:
//
//	fcm {
//		credentials         <path>
//		application_default
//		project             <id>
//		endpoint            <scheme://host>
//		dry_run
//		ttl                 <duration>
//		title               <template>
//		body                <template>
//		keep_unregistered
//		proxy               <url>
//		ca                  <file>
//		client_cert         <cert_file> <key_file>
//	}
//
// One of credentials and application_default is needed. A project has to be
// that of the credentials.
func (f *Dispatcher) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the type
	if d.NextArg() {
		return d.Err("fcm takes no arguments; its options stand in a block")
	}
	for d.NextBlock(0) {
		if err := f.unmarshalOption(d); err != nil {
			return err
		}
	}
	return nil
}

const oneArgument = "exactly one argument; quote one that has spaces"

func (f *Dispatcher) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "credentials":
		return option.Path(d, &f.Credentials, oneArgument)
	case "project":
		return option.Checked(d, &f.Project, oneArgument, checkProject)
	case "endpoint":
		return option.Checked(d, &f.Endpoint, oneArgument, checkEndpoint)
	case "title":
		return option.Checked(d, &f.Title, oneArgument, checkTitle)
	case "body":
		return option.Checked(d, &f.Body, oneArgument, checkBody)
	case "ttl":
		return f.unmarshalTTL(d)
	case "application_default":
		return flag(d, &f.ApplicationDefault)
	case "dry_run":
		return flag(d, &f.DryRun)
	case "keep_unregistered":
		return flag(d, &f.KeepUnregistered)
	}
	known, err := httpclient.UnmarshalOption(&f.Options, d)
	if !known {
		return d.Errf("unrecognized option '%s' of fcm", d.Val())
	}
	return err
}

func (f *Dispatcher) unmarshalTTL(d *caddyfile.Dispenser) error {
	var text string
	if f.TTL != 0 {
		return d.Err("ttl is given twice")
	}
	if err := option.Text(d, &text, oneArgument); err != nil {
		return err
	}
	ttl, err := caddy.ParseDuration(text)
	if err != nil || ttl <= 0 || ttl > MaxTTL {
		return d.Err("ttl takes a duration such as 2m, at most 28d")
	}
	f.TTL = caddy.Duration(ttl)
	return nil
}

func flag(d *caddyfile.Dispenser, to *bool) error {
	name := d.Val()
	if *to {
		return d.Errf("%s is given twice", name)
	}
	if d.NextArg() {
		return d.Errf("%s takes no arguments", name)
	}
	*to = true
	return nil
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Dispatcher)(nil)

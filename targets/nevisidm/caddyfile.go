package nevisidm

import (
	"math"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/option"
)

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	nevisidm <url> {
//		client       <ext_id>
//		auth         basic <user> <password> | bearer <token>
//		api          auto|entities|credentials
//		username     ext_id|login_id
//		scan
//		timeout      <duration>
//		max_response <size>
//		proxy        <url>
//		ca           <file>
//		client_cert  <cert_file> <key_file>
//	}
//
// client is needed, and auth or client_cert.
func (s *Source) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // type
	args := d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return d.Err("nevisidm takes one argument, the URL of nevisIDM; its options stand in a block")
	}
	s.URL = args[0]
	if err := httpclient.UnmarshalBlock(&s.Options, d, s.unmarshalOption); err != nil {
		return err
	}
	if s.Client == "" {
		return d.Err("nevisidm needs: client <ext_id>")
	}
	return nil
}

// unmarshalOption reads one. Errors do not quote arguments, which may be
// secret.
func (s *Source) unmarshalOption(d *caddyfile.Dispenser) error {
	switch name := d.Val(); name {
	case "client":
		return option.Text(d, &s.Client, "one argument: the external id of a client")
	case "auth":
		return s.unmarshalAuth(d)
	case "api":
		return choice(d, &s.API, apiAuto, apiEntities, apiCredentials)
	case "username":
		return choice(d, &s.Username, usernameExtID, usernameLoginID)
	case "scan":
		s.Scan = true
		if d.NextArg() {
			return d.Err("scan takes no arguments")
		}
		return nil
	case "timeout":
		return s.unmarshalTimeout(d)
	case "max_response":
		return s.unmarshalMaxResponse(d)
	default:
		return d.Errf("unrecognized option '%s' of nevisidm", name)
	}
}

func (s *Source) unmarshalAuth(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if slices.Contains(args, "") {
		return d.Err("auth: an argument is empty")
	}
	switch {
	case len(args) == 3 && args[0] == "basic":
		s.Auth = &Auth{Username: args[1], Password: args[2]}
	case len(args) == 2 && args[0] == "bearer":
		s.Auth = &Auth{Bearer: args[1]}
	default:
		return d.Err("auth takes: basic <user> <password>, or: bearer <token>; " +
			"passwords and tokens belong in placeholders such as {file./path}")
	}
	return nil
}

func (s *Source) unmarshalTimeout(d *caddyfile.Dispenser) error {
	var text string
	if err := option.Text(d, &text, "one argument: a duration"); err != nil {
		return err
	}
	timeout, err := caddy.ParseDuration(text)
	if err != nil || timeout <= 0 {
		return d.Err("timeout takes a duration above zero, such as 3s")
	}
	s.Timeout = caddy.Duration(timeout)
	return nil
}

func (s *Source) unmarshalMaxResponse(d *caddyfile.Dispenser) error {
	var text string
	if err := option.Text(d, &text, "one argument: a size"); err != nil {
		return err
	}
	size, err := humanize.ParseBytes(text)
	if err != nil || size == 0 || size > math.MaxInt64 {
		return d.Err("max_response takes a size above zero, such as 1MiB")
	}
	s.MaxResponse = int64(size)
	return nil
}

func choice(d *caddyfile.Dispenser, to *string, choices ...string) error {
	name := d.Val()
	args := d.RemainingArgs()
	if len(args) != 1 || !slices.Contains(choices, args[0]) {
		return d.Errf("%s takes one of: %s", name, strings.Join(choices, ", "))
	}
	*to = args[0]
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Source)(nil)

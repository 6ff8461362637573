package smtp

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/option"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/internal/wording"
)

func init() { caddy.RegisterModule(Dispatcher{}) }

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens. Syntax:
//
//	smtp {
//		server      <host>[:<port>]
//		tls         starttls|implicit|off
//		auth        <user> <password>
//		auth_type   auto|plain|login|cram-md5|scram-sha-1|scram-sha-256|xoauth2
//		from        "<name> <<address>>"
//		subject     <template>
//		templates   <dir>
//		language    <template>... <language>
//		helo        <name>
//		connections <n>
//		proxy       <url>
//		ca          <file>
//		client_cert <cert_file> <key_file>
//	}
func (s *Dispatcher) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // type
	if d.NextArg() {
		return d.Err("smtp takes no arguments; its options stand in a block")
	}
	if err := httpclient.UnmarshalBlock(&s.Options, d, s.option); err != nil {
		return err
	}
	if s.Auth != nil && s.Auth.Username == "" {
		return d.Err("auth_type says how to log in: auth <user> <password> is missing")
	}
	return nil
}

// option reads one. Errors do not quote arguments, which may be secret.
func (s *Dispatcher) option(d *caddyfile.Dispenser) error {
	const oneValue = "one value; put it in quotes if it holds spaces"
	switch word := d.Val(); word {
	case "server":
		return option.Checked(d, &s.Server, oneValue, checkServer)
	case "tls":
		return option.Checked(d, &s.TLS, oneValue, checkTLS)
	case "auth":
		return s.authOption(d)
	case "auth_type":
		return option.Checked(d, &s.auth().Type, oneValue, checkAuthType)
	case "from":
		return option.Checked(d, &s.From, oneValue, checkFrom)
	case "subject":
		return option.Checked(d, &s.Subject, oneValue, checkSubject)
	case "templates":
		return option.Path(d, &s.Templates, oneValue)
	case "language":
		var err error
		s.Language, err = wording.ParseLanguage(d, d.RemainingArgs())
		return err
	case "helo":
		return option.Checked(d, &s.HELO, oneValue, checkHELO)
	case "connections":
		return s.connectionsOption(d)
	default:
		return d.Errf("unrecognized option %q of smtp", word)
	}
}

func (s *Dispatcher) authOption(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 2 || args[0] == "" || args[1] == "" {
		return d.Err("auth takes two arguments: the user and the password, such as {env.SMTP_PASSWORD} or {file./path}")
	}
	if err := placeholder.Check(optionUser, args[0], nil); err != nil {
		return d.WrapErr(err)
	}
	if err := placeholder.Check(optionPassword, args[1], checkPassword); err != nil {
		return d.WrapErr(err)
	}
	s.auth().Username, s.auth().Password = args[0], args[1]
	return nil
}

func (s *Dispatcher) connectionsOption(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 1 {
		return d.Err("connections takes one value")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 || n > MaxConnections {
		return d.Errf("connections takes a number from 1 to %d", MaxConnections)
	}
	s.Connections = n
	return nil
}

func (s *Dispatcher) auth() *Auth {
	if s.Auth == nil {
		s.Auth = new(Auth)
	}
	return s.Auth
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Dispatcher)(nil)

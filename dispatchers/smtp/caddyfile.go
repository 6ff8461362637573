package smtp

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/internal/wording"
	"github.com/oob-dispatch/oob-dispatch/outbound"
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
	if err := outbound.UnmarshalBlock(&s.Options, d, s.option); err != nil {
		return err
	}
	if s.Auth != nil && s.Auth.Username == "" {
		return d.Err("auth_type says how to log in: auth <user> <password> is missing")
	}
	return nil
}

// option reads one. Errors do not quote arguments, which may be secret.
func (s *Dispatcher) option(d *caddyfile.Dispenser) error {
	subject := ""
	texts := map[string]*string{
		"server": &s.Server, "tls": &s.TLS, "from": &s.From, "subject": &subject,
		"templates": &s.Templates, "helo": &s.HELO,
	}
	word, args := d.Val(), d.RemainingArgs()
	text, isText := texts[word]
	switch {
	case word == "auth" && len(args) == 2 && args[0] != "" && args[1] != "":
		s.auth().Username, s.auth().Password = args[0], args[1]
		return nil
	case word == "auth":
		return d.Err("auth takes two arguments: the user and the password, such as {env.SMTP_PASSWORD} or {file./path}")
	case word == "language":
		var err error
		s.Language, err = wording.ParseLanguage(d, args)
		return err
	case !isText && word != "auth_type" && word != "connections":
		return d.Errf("unrecognized option %q of smtp", word)
	case len(args) != 1 || args[0] == "":
		return d.Errf("%s takes one value; put it in quotes if it holds spaces", word)
	case word == "auth_type":
		s.auth().Type = args[0]
		return nil
	case word == "connections":
		n, err := strconv.Atoi(args[0])
		if err != nil || n <= 0 {
			return d.Err("connections takes a positive number")
		}
		s.Connections = n
		return nil
	}
	*text = args[0]
	if word == "subject" {
		s.Subject = dispatchers.Template(subject)
	}
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

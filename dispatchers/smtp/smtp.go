// Package smtp is the dispatcher that sends mails through a mail server.
package smtp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/mail"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/smtp/internal/mailserver"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/internal/texts"
	"github.com/oob-dispatch/oob-dispatch/internal/watchedfile"
)

func init() { caddy.RegisterModule(Mailer{}) }

// The reasons of mails that cannot be written, in addition to those of the
// packages dispatchers and mailserver.
const (
	reasonTemplate = "template"
	reasonID       = "id"
	reasonBusy     = "busy"
)

// Mailer sends a mail with the link that opens the app and a QR code: with
// `base_url` the code holds the link, which any camera can follow; without it
// the bare message, which only the app can read. A message that is too long for
// a QR code goes as a link alone.
//
// The address of a message is one mail address without a name, whose domain
// has a dot. Domains may be international; the part before the @ is ASCII, is
// neither quoted nor a route (no !, % or |), and does not begin with - or /.
//
// A mail is never knowingly sent twice: if the server does not answer after
// it has got a whole mail, the outcome is refused, with the reason
// "uncertain". Attempts for the same token share a Message-ID.
type Mailer struct {
	// The mail server, as host or host:port. It needs a certificate for
	// this host. Default port: 587, or 465 with `implicit`, 25 with `off`
	Server string `json:"server,omitempty"`

	// How the connection is encrypted: `starttls` (RFC 3207; a server that does
	// not offer it is not used), `implicit` (RFC 8314), or `off`, which is for
	// a server on this machine only. Default: `starttls`
	TLS string `json:"tls,omitempty"`

	// The account to log in with; only over TLS. Default: none
	Auth Auth `json:"auth,omitzero"`

	// The sender, such as `Example Bank <login@example.com>`. The name also
	// signs the mails, the domain ends their Message-ID. Required
	From string `json:"from,omitempty"`

	// The subject in place of that of the texts. One line of at most 200
	// characters, the rest is cut off
	Subject dispatchers.Template `json:"subject,omitempty"`

	// The name to greet the server with. Default: the name of this machine
	HELO string `json:"helo,omitempty"`

	// How many connections to the server there may be, 1 to 100. They are kept
	// for half a minute after a mail, for the next one. Default: 4
	Connections int `json:"connections,omitempty"`

	texts.Config
	httpclient.Options

	from     *mail.Address
	texts    *texts.Set
	login    *mailserver.Login   // nil for none
	password *watchedfile.Secret // of login
	server   *mailserver.Server
}

var defaultPorts = map[string]string{mailserver.Implicit: "465", mailserver.STARTTLS: "587", mailserver.Off: "25"}

var options = conf.Join(
	conf.Table[Mailer]{
		conf.Placeholder("server", func(s *Mailer) *string { return &s.Server }, checkServer),
		conf.OneOf("tls", func(s *Mailer) *string { return &s.TLS }, mailserver.STARTTLS, mailserver.Implicit, mailserver.Off),
		conf.Resolved(conf.Custom("auth", readAuth, checkAuth), resolveAuth),
		conf.Text("auth_type", func(s *Mailer) *string { return &s.Auth.Type }, checkAuthType),
		conf.Placeholder("from", func(s *Mailer) *string { return &s.From }, conf.Parses(parseSender)),
		conf.Text("subject", func(s *Mailer) *dispatchers.Template { return &s.Subject }, dispatchers.CheckTemplate),
		conf.Placeholder("helo", func(s *Mailer) *string { return &s.HELO }, checkHELO),
		conf.Int("connections", func(s *Mailer) *int { return &s.Connections }, 1, 100, 4),
	},
	conf.Embed(texts.Table, func(s *Mailer) *texts.Config { return &s.Config }),
	conf.Embed(httpclient.Table, func(s *Mailer) *httpclient.Options { return &s.Options }),
)

// CaddyModule returns the Caddy module information.
func (Mailer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  dispatchers.Namespace + ".smtp",
		New: func() caddy.Module { return new(Mailer) },
	}
}

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens.
func (s *Mailer) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return options.Unmarshal(d, s) }

// Check implements conf.Checker.
func (s *Mailer) Check() error {
	off := s.TLS == mailserver.Off
	switch {
	case s.Server == "":
		return errors.New("server <host:port> is needed, such as: server mail.example.com:587")
	case s.From == "":
		return errors.New("from <address> is needed, such as: from login@example.com")
	case s.Auth.Type != "" && s.Auth.Username == "":
		return conf.Errorf("auth_type", "auth_type says how to log in: auth <user> <password> is missing")
	case off && s.Auth != (Auth{}):
		return conf.Errorf("tls", "tls off: auth would send the password in clear; use starttls or implicit")
	case off && s.Options != (httpclient.Options{}):
		return conf.Errorf("tls", "tls off: proxy, ca and client_cert have no use without TLS")
	case off:
		if err := placeholder.Check("server", s.Server, checkLocal); err != nil {
			return conf.Errorf("tls", "tls off: %w", err)
		}
	}
	return s.CheckLanguage(texts.Mail)
}

// Provision loads the texts and the credentials. It dials nothing.
func (s *Mailer) Provision(ctx caddy.Context) error {
	logger := dispatchers.Logger(ctx)
	if err := options.Provision(s, logger); err != nil {
		return err
	}
	s.TLS = cmp.Or(s.TLS, mailserver.STARTTLS)
	var err error
	if s.from, err = parseSender(s.From); err != nil {
		return err
	}
	if s.texts, err = texts.Load(texts.Mail, s.Config); err != nil {
		return err
	}
	s.server, err = s.newServer(logger)
	return err
}

func (s *Mailer) newServer(logger *slog.Logger) (*mailserver.Server, error) {
	if s.TLS == mailserver.Off {
		if err := checkLocal(s.Server); err != nil { // a placeholder's value
			return nil, fmt.Errorf("tls off: server: %w", err)
		}
	}
	host, port, err := parseServer(s.Server)
	if err != nil {
		return nil, err
	}
	config, err := httpclient.NewTLS(&s.Options, logger)
	if err != nil {
		return nil, err
	}
	dial, err := httpclient.NewDialer(s.Options, config)
	if err != nil {
		return nil, err
	}
	config.ServerName = host
	return mailserver.New(mailserver.Options{
		Host:        host,
		Address:     net.JoinHostPort(host, cmp.Or(port, defaultPorts[s.TLS])),
		Connect:     dial,
		TLS:         s.TLS,
		TLSConfig:   config,
		HELO:        cmp.Or(s.HELO, defaultHELO()),
		Login:       s.login,
		Connections: s.Connections,
	}), nil
}

// Cleanup closes the connections.
func (s *Mailer) Cleanup() error {
	if s.server != nil {
		s.server.Close()
	}
	return nil
}

// Traits implements dispatchers.Dispatcher.
func (*Mailer) Traits() dispatchers.Traits { return dispatchers.Traits{Notices: true} }

// ceiling ends an attempt whose context has no deadline.
const ceiling = time.Minute

// Dispatch implements dispatchers.Dispatcher.
func (s *Mailer) Dispatch(ctx context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, ceiling)
	defer cancel()
	mail, err := s.write(ctx, m)
	if err != nil {
		return dispatchers.Receipt{}, err
	}
	if err := s.server.Send(ctx, mail); err != nil {
		return dispatchers.Receipt{}, err
	}
	return dispatchers.Receipt{Response: dispatchers.SuccessfulDispatch}, nil
}

// Probe opens a connection of its own, with TLS and login as for a mail, and
// closes it again. Nothing is sent.
func (s *Mailer) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ceiling)
	defer cancel()
	return s.server.Probe(ctx)
}

// LoadedCredentials implements dispatchers.CredentialHolder.
func (s *Mailer) LoadedCredentials() []dispatchers.Credential {
	all := s.Options.LoadedCredentials()
	if s.password != nil {
		all = append(all, dispatchers.Credential{Option: "auth", Err: s.password.Err()})
	}
	return all
}

// Interface guards
var (
	_ caddyfile.Unmarshaler        = (*Mailer)(nil)
	_ caddy.Provisioner            = (*Mailer)(nil)
	_ caddy.CleanerUpper           = (*Mailer)(nil)
	_ conf.Checker                 = (*Mailer)(nil)
	_ dispatchers.Dispatcher       = (*Mailer)(nil)
	_ dispatchers.CredentialHolder = (*Mailer)(nil)
)

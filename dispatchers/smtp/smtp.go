// Package smtp is the dispatcher that sends mails through a mail server.
package smtp

import (
	"context"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/wording"
)

// Dispatcher sends a mail with the link that opens the app and a QR code:
// with `base_url` the code holds the link, which any camera can follow;
// without it the bare message, which only the app can read. A message that is
// too long for a QR code goes as a link alone.
//
// The address of a message is one mail address without a name, whose domain
// has a dot. Domains may be international; the part before the @ is ASCII and
// is neither quoted nor a route (no !, % or |).
//
// A mail is never knowingly sent twice: if the server does not answer after
// it has got a whole mail, the outcome is refused, with the reason
// "uncertain". Attempts for the same token share a Message-ID.
type Dispatcher struct {
	// The mail server, as host or host:port. It has to have a certificate for
	// this host. Default port: 587, or 465 with `implicit`, 25 with `off`
	Server string `json:"server,omitempty"`

	// How the connection is encrypted: `starttls` (RFC 3207; a server that does
	// not offer it is not used), `implicit` (RFC 8314), or `off`, which is for
	// a server on this machine only. Default: `starttls`
	TLS string `json:"tls,omitempty"`

	// The account to log in with; only over TLS. Default: none
	Auth *Auth `json:"auth,omitempty"`

	// The sender, such as `Example Bank <login@example.com>`. The name also
	// signs the mails, the domain ends their Message-ID. Required
	From string `json:"from,omitempty"`

	// The subject in place of that of the texts. One line of at most 200
	// characters, the rest is cut off
	Subject dispatchers.Template `json:"subject,omitempty"`

	// Folder of own texts in place of the built-in ones of the same name:
	// <operation>.<language>.txt, which defines the parts subject and text,
	// <operation>.<language>.html, and the frame layout.html. Default: the
	// built-in ones, in de, en, fr and it
	Templates string `json:"templates,omitempty"`

	// Where the language comes from, templates in order of preference: each
	// gives a language tag or an Accept-Language header. The last is one of
	// the languages. Default: {oob.data.language},
	// {http.request.header.Accept-Language}, en
	Language []dispatchers.Template `json:"language,omitempty"`

	// The name to greet the server with. Default: the name of this machine
	HELO string `json:"helo,omitempty"`

	// How many connections to the server there may be, 1 to 100. They are kept
	// for half a minute after a mail, for the next one. Default: 4
	Connections int `json:"connections,omitempty"`

	httpclient.Options

	from   sender
	texts  *wording.Texts
	server *server
	pool   *pool
	now    func() time.Time
}

// CaddyModule returns the Caddy module information.
func (Dispatcher) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  dispatchers.Namespace + ".smtp",
		New: func() caddy.Module { return new(Dispatcher) },
	}
}

// Cleanup closes the connections.
func (s *Dispatcher) Cleanup() error {
	if s.pool != nil {
		s.pool.close()
	}
	return nil
}

// Traits implements dispatchers.Dispatcher.
func (*Dispatcher) Traits() dispatchers.Traits { return dispatchers.Traits{} }

// ceiling ends an attempt whose context has no deadline.
const ceiling = time.Minute

// Dispatch implements dispatchers.Dispatcher.
func (s *Dispatcher) Dispatch(ctx context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, ceiling)
	defer cancel()
	mail, err := s.compose(ctx, m)
	if err != nil {
		return dispatchers.Receipt{}, err
	}
	if err := s.pool.send(ctx, mail); err != nil {
		return dispatchers.Receipt{}, err
	}
	return dispatchers.Receipt{Response: dispatchers.SuccessfulDispatch}, nil
}

// Check opens a connection of its own, with TLS and login as for a mail, and
// closes it again. Nothing is sent.
func (s *Dispatcher) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ceiling)
	defer cancel()
	session, err := s.server.dial(ctx)
	if err != nil {
		return err
	}
	defer session.quit(ctx)
	return session.do(ctx, atHello, session.client.Noop)
}

// Interface guards
var (
	_ caddy.Provisioner         = (*Dispatcher)(nil)
	_ caddy.CleanerUpper        = (*Dispatcher)(nil)
	_ dispatchers.Dispatcher    = (*Dispatcher)(nil)
	_ dispatchers.OptionChecker = (*Dispatcher)(nil)
)

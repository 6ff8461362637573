package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

// server is how to get a connection that can take mails.
type server struct {
	host, address string
	tls           string
	config        *tls.Config // nil with tls off
	helo          string
	login         *login  // nil for none
	tunnel        *tunnel // nil for none
}

const dialTimeout = 10 * time.Second

// dial opens a session. The error is a *dispatchers.Error.
func (s *server) dial(ctx context.Context) (*session, error) {
	c, err := s.connect(ctx)
	if err != nil {
		return nil, classify(ctx, atConnect, err)
	}
	n := &session{conn: &conn{Conn: c}, opened: time.Now()}
	if err := s.open(ctx, n); err != nil {
		n.drop()
		return nil, err
	}
	return n, nil
}

func (s *server) connect(ctx context.Context) (net.Conn, error) {
	if s.tunnel != nil {
		return s.tunnel.connect(ctx, s.address)
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	return dialer.DialContext(ctx, "tcp", s.address)
}

// open takes a connection to the point where it can take mails. Neither the
// login nor an address is told before TLS has proved who the server is.
func (s *server) open(ctx context.Context, n *session) error {
	var transport net.Conn = n.conn
	if s.tls == tlsImplicit {
		client := tls.Client(n.conn, s.config)
		if err := n.do(ctx, atTLS, func() error { return client.HandshakeContext(ctx) }); err != nil {
			return err
		}
		transport = client
	}
	err := n.do(ctx, atHello, func() (err error) {
		if n.client, err = gosmtp.NewClient(transport, s.host); err != nil {
			return err
		}
		n.client.SkipSMTPUTF8(true) // all addresses are ASCII
		return n.client.Hello(s.helo)
	})
	if err != nil {
		return err
	}
	if s.tls == tlsSTARTTLS {
		if err := s.startTLS(ctx, n); err != nil {
			return err
		}
	}
	if s.login == nil {
		return nil
	}
	_, offered := n.client.Extension("AUTH")
	auth, err := s.login.choose(offered)
	if err != nil {
		return err
	}
	return n.do(ctx, atAuth, func() error { return n.client.Auth(auth) })
}

func (s *server) startTLS(ctx context.Context, n *session) error {
	if offered, _ := n.client.Extension("STARTTLS"); !offered {
		return dispatchers.Fail(dispatchers.Broken, reasonSTARTTLS,
			"the mail server, or something on the way to it, does not offer STARTTLS: "+
				"use tls implicit if the port is for it, or find out what takes the offer away")
	}
	return n.do(ctx, atTLS, func() error { return n.client.StartTLS(s.config) })
}

// maxAnswers bounds what a server can have to say, in bytes, while a session
// is opened and for each mail.
const maxAnswers = 128 << 10

var errFlood = errors.New("the mail server does not stop talking")

// conn bounds what is read of a connection.
type conn struct {
	net.Conn
	left int
}

func (c *conn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errFlood
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

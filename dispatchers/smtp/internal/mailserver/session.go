package mailserver

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/textproto"
	"time"

	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
)

// The commands and mechanisms are go-mail's. Its Client, which sends mails over
// them, is not used: the errors of a connection that fails have no stage, which
// "never twice" and the outcome classes need, and it leaves such connections
// open.

// dial opens a session. The error is a *dispatchers.Error.
func (s *Server) dial(ctx context.Context) (*session, error) {
	c, err := s.Connect(ctx, "tcp", s.Address)
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

// open takes a connection to the point where it can take mails. Neither the
// login nor an address is sent before TLS has proved who the server is.
func (s *Server) open(ctx context.Context, n *session) error {
	var transport net.Conn = n.conn
	if s.TLS == Implicit {
		client := tls.Client(n.conn, s.TLSConfig)
		if err := n.do(ctx, atTLS, func() error { return client.HandshakeContext(ctx) }); err != nil {
			return err
		}
		transport = client
	}
	err := n.do(ctx, atHello, func() (err error) {
		if n.client, err = gosmtp.NewClient(transport, s.Host); err != nil {
			return err
		}
		n.client.SkipSMTPUTF8(true) // all addresses are ASCII
		return n.client.Hello(s.HELO)
	})
	if err != nil {
		return err
	}
	if s.TLS == STARTTLS {
		if offered, _ := n.client.Extension("STARTTLS"); !offered {
			return dispatchers.Fail(dispatchers.Broken, reasonSTARTTLS,
				"the mail server, or something on the way to it, does not offer STARTTLS: "+
					"use tls implicit if the port is for it, or find out what takes the offer away")
		}
		if err := n.do(ctx, atTLS, func() error { return n.client.StartTLS(s.TLSConfig) }); err != nil {
			return err
		}
	}
	if s.Login == nil {
		return nil
	}
	return s.logIn(ctx, n)
}

// logIn greets the server once more: go-mail keeps the last line of AUTH only.
func (s *Server) logIn(ctx context.Context, n *session) error {
	var extensions string
	err := n.do(ctx, atHello, func() (err error) {
		if err = n.client.Text.PrintfLine("EHLO %s", s.HELO); err == nil {
			_, extensions, err = n.client.Text.ReadResponse(250)
		}
		return err
	})
	if err != nil {
		return err
	}
	auth, err := s.Login.choose(s.Host, extensions)
	if err != nil {
		return err
	}
	return n.do(ctx, atAuth, func() error { return n.client.Auth(auth) })
}

// session is a connection that can take mails, one after the other.
type session struct {
	conn   *conn
	client *gosmtp.Client
	opened time.Time
	kept   bool        // it has sent a mail
	idle   *time.Timer // ends it while it waits for the next mail
	broken bool        // nothing more can be sent over it
}

// do runs a part of the dialogue for as long as ctx allows. The error is a
// *dispatchers.Error. A refusal by the server leaves the session usable, any
// other failure breaks it.
func (n *session) do(ctx context.Context, at stage, f func() error) error {
	if ctx.Err() != nil { // nothing of this part is out
		n.broken = true
		return httpclient.Explain(at.String(), ctx.Err())
	}
	n.conn.left = maxAnswers
	stop := context.AfterFunc(ctx, func() { _ = n.conn.SetDeadline(time.Unix(1, 0)) })
	err := f()
	if !stop() {
		n.broken = true
	}
	if err == nil {
		return nil
	}
	if answer, ok := errors.AsType[*textproto.Error](err); !ok || answer.Code == codeClosing || answer.Code < 400 {
		n.broken = true
	}
	return classify(ctx, at, err)
}

// send makes one attempt. It also returns how far it came.
func (n *session) send(ctx context.Context, m *Mail) (stage, error) {
	var w io.WriteCloser
	for _, part := range []struct {
		at stage
		do func() error
	}{
		{atSender, func() error { return n.client.Mail("<" + m.From + ">") }},
		{atRecipient, func() error { return n.client.Rcpt("<" + m.To + ">") }},
		{atData, func() (err error) { w, err = n.client.Data(); return err }},
		{atContent, func() error { _, err := w.Write(m.Content); return err }},
		{atEnd, func() error { return w.Close() }},
	} {
		if err := n.do(ctx, part.at, part.do); err != nil {
			return part.at, err
		}
	}
	return atEnd, nil
}

// quitTime bounds QUIT and its answer.
const quitTime = time.Second

// quit ends the session as the protocol wants it, unless it is broken: a
// command would then end a mail that is only half sent, and the server would
// take it for a whole one.
func (n *session) quit() {
	if !n.broken {
		ctx, cancel := context.WithTimeout(context.Background(), quitTime)
		defer cancel()
		_ = n.do(ctx, atHello, n.client.Quit)
	}
	n.drop()
}

// drop ends the session without a command.
func (n *session) drop() { _ = n.conn.Close() }

// maxAnswers bounds what a server may send for each part of the dialogue, in
// bytes.
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

package smtp

import (
	"context"
	"errors"
	"io"
	"net/textproto"
	"time"

	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
)

// session is a connection that can take mails, one after the other.
type session struct {
	conn   *conn
	client *gosmtp.Client
	opened time.Time
	idle   *time.Timer // while it waits in the pool
	broken bool        // nothing more can be sent over it
}

// outgoing is a mail that is ready to be sent.
type outgoing struct {
	from, to string
	content  []byte // RFC 5322, in 7-bit lines that end with CR LF
}

// do runs a part of the dialogue for as long as ctx allows. The error is a
// *dispatchers.Error. A refusal by the server leaves the session usable, any
// other failure breaks it.
func (n *session) do(ctx context.Context, at stage, f func() error) error {
	if ctx.Err() != nil { // nothing of this part is out
		n.broken = true
		return httpclient.Classify(at.String(), ctx.Err())
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
func (n *session) send(ctx context.Context, m *outgoing) (stage, error) {
	if err := n.do(ctx, atSender, func() error { return n.client.Mail("<" + m.from + ">") }); err != nil {
		return atSender, err
	}
	if err := n.do(ctx, atRecipient, func() error { return n.client.Rcpt("<" + m.to + ">") }); err != nil {
		return atRecipient, err
	}
	var w io.WriteCloser
	if err := n.do(ctx, atData, func() (err error) { w, err = n.client.Data(); return err }); err != nil {
		return atData, err
	}
	if err := n.do(ctx, atContent, func() error { _, err := w.Write(m.content); return err }); err != nil {
		return atContent, err
	}
	return atEnd, n.do(ctx, atEnd, w.Close)
}

// alive asks whether the session can take another mail, and takes back
// whatever a refused one has left.
func (n *session) alive(ctx context.Context) bool {
	return n.do(ctx, atHello, n.client.Reset) == nil
}

// quit ends the session as the protocol wants it, unless it is broken: a
// command would then end a mail that is only half sent, and the server would
// take it for a whole one.
func (n *session) quit(ctx context.Context) {
	if !n.broken {
		_ = n.do(ctx, atHello, n.client.Quit)
	}
	n.drop()
}

// drop ends the session without a word.
func (n *session) drop() { _ = n.conn.Close() }

package mailserver

import (
	"bytes"
	"context"
	"errors"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

// script is a connection to a server that says what stands in it, whatever it
// is told.
type script struct {
	net.Conn // nil: there is no network
	replies  *bytes.Reader
	sent     bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)      { return s.replies.Read(p) }
func (s *script) Write(p []byte) (int, error)     { return s.sent.Write(p) }
func (s *script) Close() error                    { return nil }
func (s *script) SetDeadline(time.Time) error     { return nil }
func (s *script) LocalAddr() net.Addr             { return &net.UnixAddr{} }
func (s *script) RemoteAddr() net.Addr            { return &net.UnixAddr{} }
func (s *script) SetReadDeadline(time.Time) error { return nil }

// FuzzReplies sends a mail to a server that says anything. It ends; a mail counts
// as taken only once all of it is out, and is then sent again only if the server
// has said so; with STARTTLS nothing of it goes out in clear; an error quotes
// nothing.
func FuzzReplies(f *testing.F) {
	const (
		secret = "Zx7Q-canary"
		hello  = "220 mail.example.com ESMTP\r\n250-mail.example.com\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"
	)
	for _, replies := range []string{
		hello + "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 End\r\n250 2.0.0 Ok: queued as " + secret + "\r\n", hello + "250 Ok\r\n250 Ok\r\n354 go\r\n", hello + "250 Ok\r\n250 Ok\r\n354 go\r\n200 x\r\n",
		hello + "250 Ok\r\n550-5.1.1 <" + secret + "@example.com>\r\n550 5.1.1 User unknown\r\n", hello + "250 Ok\r\n450 4.2.0 greylisted\r\n", hello + "550 5.7.1 " + secret + "\r\n", "554 no\r\n", "421 later\r\n", hello + "250 Ok\r\n552 4.1.1 mixed\r\n",
		"220 x\r\n502 5.5.2 no EHLO\r\n250 HELO\r\n250 Ok\r\n250 Ok\r\n354 go\r\n421 4.4.2 closing\r\n", "220 x\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n220 go\r\n", "HTTP/1.1 400 " + secret + "\r\n", "220-a\r\n221 b\r\n", "\x16\x03\x01", "",
		hello + "250 Ok\r\n250 Ok\r\n354 go\r\n554 5.6.0 " + secret + "\r\n", "220 x\r\n250-AUTH PLAIN\r\n250 AUTH LOGIN\r\n250-AUTH PLAIN\r\n250 AUTH LOGIN\r\n334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 ok\r\n",
	} {
		f.Add([]byte(replies), true)
		f.Add([]byte(replies), false)
	}
	refusal := regexp.MustCompile(`(^|\n)4\d\d`)
	m := &Mail{From: "bank@example.com", To: "jeff@example.com", Content: []byte("Subject: x\r\n\r\ntext\r\n")}
	f.Fuzz(func(t *testing.T, replies []byte, startTLS bool) {
		s := &script{replies: bytes.NewReader(replies)}
		o := Options{Host: "mail.example.com", Address: "mail.example.com:25", HELO: "localhost", TLS: Off, Connections: 1, Connect: func(context.Context, string, string) (net.Conn, error) { return s, nil }}
		if startTLS {
			o.TLS = STARTTLS
		}
		n, err := New(o).dial(t.Context())
		reached := atHello
		if err == nil {
			reached, err = n.send(t.Context(), m)
		}
		if startTLS && (err == nil || strings.Contains(s.sent.String(), "MAIL FROM")) {
			t.Errorf("a mail went out in clear: %q", s.sent.String())
		}
		out := bytes.HasSuffix(s.sent.Bytes(), []byte("\r\n.\r\n"))
		if err == nil {
			if !out || reached != atEnd {
				t.Errorf("%q is taken for a delivery", replies)
			}
			return
		}
		e, ok := errors.AsType[*dispatchers.Error](err)
		if !ok || !e.Class.Valid() || e.Reason == "" || strings.Contains(e.Error(), secret) || e.RetryAfter != 0 {
			t.Fatalf("the error %v", err)
		}
		if out && e.Class == dispatchers.Temporary && !refusal.Match(replies) {
			t.Errorf("a mail that is out is sent again without the server's word: %v", e)
		}
	})
}

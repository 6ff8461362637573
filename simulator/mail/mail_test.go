package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is a client that says what it is told.
type client struct {
	t *testing.T
	*textproto.Conn
}

// secured is a client of a server with implicit TLS.
func secured(t *testing.T, s *Server) *client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CA())
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	c, err := dialer.DialContext(t.Context(), "tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	text := textproto.NewConn(c)
	t.Cleanup(func() { _ = text.Close() })
	return &client{t: t, Conn: text}
}

// says sends a line, if there is one, and wants an answer that begins so.
func (c *client) says(line, want string) {
	c.t.Helper()
	if line != "" {
		if err := c.PrintfLine("%s", line); err != nil {
			c.t.Fatal(err)
		}
	}
	for {
		answer, err := c.ReadLine()
		if err != nil {
			c.t.Fatalf("%q: %v", line, err)
		}
		if len(answer) > 3 && answer[3] == '-' {
			continue
		}
		if !strings.HasPrefix(answer, want) {
			c.t.Fatalf("%q: answered %q, want %q", line, answer, want)
		}
		return
	}
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestMailIsKept(t *testing.T) {
	s := start(t, Options{TLS: Implicit, User: "bank", Password: "secret"})
	c := secured(t, s)
	c.says("", "220")
	c.says("MAIL FROM:<a@example.com>", "503")
	c.says("EHLO test", "250 AUTH PLAIN LOGIN")
	c.says("MAIL FROM:<a@example.com>", "530")
	c.says("AUTH CRAM-MD5", "504")
	c.says("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00bank\x00wrong")), "535")
	c.says("AUTH PLAIN ???", "535")
	c.says("AUTH LOGIN", "334")
	c.says(base64.StdEncoding.EncodeToString([]byte("bank")), "334")
	c.says(base64.StdEncoding.EncodeToString([]byte("secret")), "235")
	c.says("RCPT TO:<b@example.com>", "501")
	c.says("MAIL FROM:<a b@example.com>", "501")
	c.says("MAIL FROM:<a@example.com> SMTPUTF8", "501")
	c.says("MAIL FROM:<a@example.com> BODY=8BITMIME", "250")
	c.says("DATA", "503")
	c.says("RCPT TO:b@example.com", "501")
	c.says("RCPT TO:<b@example.com>", "250")
	c.says("DATA", "354")
	c.says("Subject: x\r\n\r\n..dot\r\n.", "250")
	c.says("VRFY b", "500")
	c.says("QUIT", "221")

	got, err := s.Wait(t.Context(), "b@example.com")
	if err != nil {
		t.Fatal(err)
	}
	if got.From != "a@example.com" || !slices.Equal(got.To, []string{"b@example.com"}) || got.User != "bank" ||
		!got.Encrypted || got.Connection != 1 || string(got.Data) != "Subject: x\n\n.dot\n" {
		t.Errorf("got %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Wait(ctx, "b@example.com"); !errors.Is(err, context.Canceled) {
		t.Errorf("the mail was still there: %v", err)
	}
}

func TestRead(t *testing.T) {
	const good = "Subject: =?utf-8?q?Gr=C3=BCezi?=\nContent-Type: multipart/related; boundary=r\n\n" +
		"--r\nContent-Type: multipart/alternative; boundary=a\n\n" +
		"--a\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: quoted-printable\n\na=3Db\n" +
		"--a\nContent-Type: text/html\n\n<p>\n--a--\n" +
		"--r\nContent-Type: image/png\nContent-ID: <qr@example.com>\nContent-Transfer-Encoding: base64\n\nAQI=\n--r--\n"
	m, err := Read([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject != "Grüezi" || m.Text != "a=b" || m.HTML != "<p>" || string(m.Pictures["qr@example.com"]) != "\x01\x02" {
		t.Errorf("got %+v", m)
	}
	for name, text := range map[string]string{
		"no header":       "hello",
		"no type":         "Subject: x\n\nhello",
		"no boundary":     "Content-Type: multipart/mixed\n\nhello",
		"cut off":         good[:len(good)-30],
		"bad base64":      strings.Replace(good, "AQI=", "A!", 1),
		"attachment":      strings.Replace(good, "image/png", "application/pdf", 1),
		"encoding":        strings.Replace(good, "quoted-printable", "rot13", 1),
		"second text":     strings.Replace(good, "text/html", "text/plain", 1),
		"foreign subject": strings.Replace(good, "utf-8", "klingon", 1),
	} {
		if _, err := Read([]byte(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

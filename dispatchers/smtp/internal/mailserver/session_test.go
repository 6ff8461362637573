package mailserver

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/dispatchers/dispatcherstest"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
)

// pipes is a listener without a network, so that time is the test's.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, errors.New("closed")
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// server is what sends to a server behind the listener, over one connection.
func (p pipes) server() *Server {
	return New(Options{
		Host: "mail.example.com", TLS: Off, HELO: "localhost", Connections: 1,
		Connect: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			p <- theirs
			return ours, nil
		},
	})
}

func startServer(t *testing.T, o mail.Options) *mail.Server {
	t.Helper()
	s, err := mail.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// bubble runs a test with a mail server, and what sends to it, in a bubble of
// synctest.
func bubble(t *testing.T, f func(t *testing.T, s *mail.Server, d *Server)) {
	synctest.Test(t, func(t *testing.T) {
		listener := make(pipes)
		s := startServer(t, mail.Options{Listener: listener, TLS: mail.None})
		d := listener.server()
		t.Cleanup(d.Close)
		f(t, s, d)
	})
}

func bigMail() *Mail {
	return &Mail{From: "a@example.com", To: "b@example.com", Content: []byte(strings.Repeat("0123456789\r\n", 10000))}
}

func last(s *mail.Server) string {
	synctest.Wait()
	commands := s.Commands()
	if len(commands) == 0 {
		return ""
	}
	return commands[len(commands)-1]
}

// TestStallInTheMailIsTemporary: a QUIT after half a mail would end it, and the
// server would take it for a whole one.
func TestStallInTheMailIsTemporary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener, rest := make(pipes), make(chan string, 1)
		go func() {
			c := <-listener
			defer c.Close()
			buffer := make([]byte, 1000)
			for _, answer := range []string{"220 Ready", "250 Ok", "250 Ok", "250 Ok", "354 Go ahead"} {
				if _, err := io.WriteString(c, answer+"\r\n"); err != nil {
					t.Error(err)
				}
				if !strings.HasPrefix(answer, "354") {
					_, _ = c.Read(buffer)
				}
			}
			time.Sleep(time.Hour)
			content, _ := io.ReadAll(c)
			rest <- string(content)
		}()
		p := listener.server()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		dispatcherstest.WantFailure(t, p.Send(ctx, bigMail()), dispatchers.Temporary, "timeout")
		p.Close()
		if got := <-rest; strings.Contains(got, "\r\n.\r\n") || strings.Contains(got, "QUIT") {
			t.Errorf("the server took half a mail for a whole one: …%q", got[max(0, len(got)-40):])
		}
	})
}

// slow is a server's end of a connection that takes its time to answer a mail.
type slow struct {
	net.Conn
	takes time.Duration
}

func (s slow) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "Ok: kept") {
		time.Sleep(s.takes)
	}
	return s.Conn.Write(b)
}

// TestWaitingIsNotSending: of two mails over one connection to a slow server the
// second has all its time as well, or is not begun.
func TestWaitingIsNotSending(t *testing.T) {
	for name, tc := range map[string]struct {
		deadline time.Duration // of all attempts
		mails    int
	}{"time enough": {20 * time.Second, 3}, "too little time": {5 * time.Second, 2}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener := make(pipes)
				slowly := make(pipes)
				go func() {
					for c := range listener {
						slowly <- slow{c, 3 * time.Second}
					}
				}()
				s := startServer(t, mail.Options{Listener: slowly, TLS: mail.None})
				p := listener.server()
				t.Cleanup(func() { p.Close(); close(listener) })
				within := func(deadline time.Duration) error {
					all, cancelAll := context.WithTimeout(t.Context(), deadline)
					defer cancelAll()
					ctx, cancel := dispatchers.Attempt(all, 5*time.Second)
					defer cancel()
					return p.Send(ctx, bigMail())
				}
				send := func() error { return within(tc.deadline) }
				if err := send(); err != nil {
					t.Fatal(err)
				}
				errs := make(chan error)
				for range 2 {
					go func() { errs <- send() }()
				}
				first, second := <-errs, <-errs
				if first != nil { // both may be known at the same moment
					first, second = second, first
				}
				if first != nil || tc.mails == 3 && second != nil {
					t.Error(first, second)
				}
				if tc.mails == 2 {
					dispatcherstest.WantFailure(t, second, dispatchers.Temporary, "busy")
				}
				for range 3 { // a later attempt has less time
					dispatcherstest.WantFailure(t, within(1900*time.Millisecond), dispatchers.Temporary, "busy")
				}
				if n := len(s.Mails()); n != tc.mails {
					t.Errorf("the server has %d mails, want %d", n, tc.mails)
				}
				for range 100 { // the server was slow once, and gets its chance
					_ = within(2900 * time.Millisecond)
				}
				if n := len(s.Mails()); n == tc.mails {
					t.Error("a server that was slow gets no mail ever again")
				}
			})
		})
	}
}

func TestIdleConnectionsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, s *mail.Server, p *Server) {
		if err := p.Send(t.Context(), bigMail()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(idleTime - time.Second)
		if last(s) == "QUIT" {
			t.Error("the connection ended early")
		}
		time.Sleep(2 * time.Second)
		if command := last(s); command != "QUIT" {
			t.Errorf("the last command is %q", command)
		}
	})
}

func TestOldConnectionsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, s *mail.Server, p *Server) {
		for range 60 { // ten minutes
			if err := p.Send(t.Context(), bigMail()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		if n := s.Connections(); n != 2 {
			t.Errorf("%d connections in ten minutes, want 2", n)
		}
	})
}

func TestContextThatHasEnded(t *testing.T) {
	bubble(t, func(t *testing.T, s *mail.Server, p *Server) {
		n, err := p.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		at, err := n.send(ctx, bigMail())
		dispatcherstest.WantFailure(t, err, dispatchers.Temporary, "canceled")
		if at != atSender || !n.broken || last(s) != "EHLO localhost" {
			t.Errorf("came to %q, broken %v, last command %q", at, n.broken, last(s))
		}
		n.drop()
	})
}

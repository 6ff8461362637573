package smtp

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
)

func dispatch(t *testing.T, d *Mailer) {
	t.Helper()
	if _, err := d.Dispatch(t.Context(), plain()); err != nil {
		t.Fatal(err)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	s := startServer(t, mail.Options{User: "bank", Password: "hunter2"})
	d := newMailer(t, s, map[string]any{"auth": map[string]any{"username": "bank", "password": "hunter2"}})
	for range 20 {
		dispatch(t, d)
	}
	if mails, connections := len(s.Mails()), s.Connections(); mails != 20 || connections != 1 {
		t.Errorf("%d mails over %d connections, want 20 over 1", mails, connections)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	s := startServer(t, mail.Options{})
	d := newMailer(t, s, map[string]any{"connections": 3})
	var group sync.WaitGroup
	for range 30 {
		group.Go(func() {
			if _, err := d.Dispatch(t.Context(), plain()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if mails, connections := len(s.Mails()), s.Connections(); mails != 30 || connections > 3 {
		t.Errorf("%d mails over %d connections, want 30 over at most 3", mails, connections)
	}
}

func TestWaitingForAConnectionEnds(t *testing.T) {
	s := startServer(t, mail.Options{})
	d := newMailer(t, s, map[string]any{"connections": 1})
	s.Script(mail.AtRCPT, mail.Hang)
	slow, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := d.Dispatch(slow, plain())
		done <- err
	}()
	<-s.Hanging()
	short, cancelShort := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancelShort()
	_, err := d.Dispatch(short, plain())
	wantFailure(t, err, dispatchers.Temporary, "busy")
	cancel()
	wantFailure(t, <-done, dispatchers.Temporary, "canceled")
	dispatch(t, d)
	if n := len(s.Mails()); n != 1 {
		t.Errorf("%d mails, want 1", n)
	}
}

// TestKeptConnectionsThatBroke: one mail arrives, whatever became of the
// connections that were kept.
func TestKeptConnectionsThatBroke(t *testing.T) {
	for name, breakIt := range map[string]func(*mail.Server){
		"the server restarted":      func(s *mail.Server) { s.DropConnections() },
		"dropped at RSET":           func(s *mail.Server) { s.Script(mail.AtRSET, mail.Drop) },
		"421 at RSET":               func(s *mail.Server) { s.Script(mail.AtRSET, mail.Reply("421 4.4.2 Timeout")) },
		"dropped at MAIL":           func(s *mail.Server) { s.Script(mail.AtMAIL, mail.Drop) },
		"421 at MAIL":               func(s *mail.Server) { s.Script(mail.AtMAIL, mail.Reply("421 4.7.0 Too many mails")) },
		"dropped at RCPT":           func(s *mail.Server) { s.Script(mail.AtRCPT, mail.Drop) },
		"dropped at DATA":           func(s *mail.Server) { s.Script(mail.AtDATA, mail.Drop) },
		"nonsense at RSET":          func(s *mail.Server) { s.Script(mail.AtRSET, mail.Reply("hello")) },
		"the answer to RSET is 5xx": func(s *mail.Server) { s.Script(mail.AtRSET, mail.Reply("500 5.5.1 What?")) },
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, mail.Options{})
			d := newMailer(t, s, nil)
			dispatch(t, d)
			breakIt(s)
			dispatch(t, d)
			if mails, connections := len(s.Mails()), s.Connections(); mails != 2 || connections != 2 {
				t.Errorf("%d mails over %d connections, want 2 over 2", mails, connections)
			}
		})
	}
}

func TestRefusedMailsLeaveTheConnection(t *testing.T) {
	s := startServer(t, mail.Options{})
	d := newMailer(t, s, nil)
	for _, at := range []mail.Point{mail.AtMAIL, mail.AtRCPT, mail.AtDATA, mail.AtEnd} {
		s.Script(at, mail.Reply("554 5.6.0 No"))
		if _, err := d.Dispatch(t.Context(), plain()); err == nil {
			t.Errorf("%s: the mail was taken", at)
		}
		dispatch(t, d)
	}
	if mails, connections := len(s.Mails()), s.Connections(); mails != 4 || connections != 1 {
		t.Errorf("%d mails over %d connections, want 4 over 1", mails, connections)
	}
}

// TestNonsenseEndsTheConnection: nobody knows what such a server waits for.
func TestNonsenseEndsTheConnection(t *testing.T) {
	s := startServer(t, mail.Options{})
	d := newMailer(t, s, nil)
	s.Script(mail.AtRCPT, mail.Reply("354 Go ahead"))
	_, err := d.Dispatch(t.Context(), plain())
	wantFailure(t, err, dispatchers.Broken, "protocol")
	dispatch(t, d)
	if mails, connections := len(s.Mails()), s.Connections(); mails != 1 || connections != 2 {
		t.Errorf("%d mails over %d connections, want 1 over 2", mails, connections)
	}
}

func TestCleanupSaysGoodBye(t *testing.T) {
	s := startServer(t, mail.Options{})
	d := newMailer(t, s, nil)
	dispatch(t, d)
	if err := d.Cleanup(); err != nil {
		t.Fatal(err)
	}
	commands := s.Commands()
	if last := commands[len(commands)-1]; last != "QUIT" {
		t.Errorf("the last command is %q", last)
	}
	dispatch(t, d) // one that was still under way at a reload
	if n := len(d.pool.idle); n != 0 {
		t.Errorf("%d connections are kept after the end", n)
	}
	if err := d.Cleanup(); err != nil {
		t.Error(err)
	}
}

func TestCleanupDoesNotHang(t *testing.T) {
	s := startServer(t, mail.Options{})
	d := newMailer(t, s, nil)
	dispatch(t, d)
	s.Script(mail.AtQUIT, mail.Hang)
	if err := d.Cleanup(); err != nil {
		t.Fatal(err)
	}
}

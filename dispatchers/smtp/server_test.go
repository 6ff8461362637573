package smtp

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
)

func TestConnectionsAreBounded(t *testing.T) {
	s, d := serve(t, mail.Options{}, map[string]any{"connections": 3})
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
	s, d := serve(t, mail.Options{}, map[string]any{"connections": 1})
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
	dispatch(t, d, plain())
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
			s, d := serve(t, mail.Options{}, nil)
			dispatch(t, d, plain())
			breakIt(s)
			dispatch(t, d, plain())
			wantMails(t, s, 2, 2)
		})
	}
}

func TestRefusedMailsLeaveTheConnection(t *testing.T) {
	s, d := serve(t, mail.Options{}, nil)
	for _, at := range []mail.Point{mail.AtMAIL, mail.AtRCPT, mail.AtDATA, mail.AtEnd} {
		s.Script(at, mail.Reply("554 5.6.0 No"))
		if _, err := d.Dispatch(t.Context(), plain()); err == nil {
			t.Errorf("%s: the mail was taken", at)
		}
		dispatch(t, d, plain())
	}
	wantMails(t, s, 4, 1)
}

// TestNonsenseEndsTheConnection: nobody knows what such a server waits for.
func TestNonsenseEndsTheConnection(t *testing.T) {
	s, d := serve(t, mail.Options{}, nil)
	s.Script(mail.AtRCPT, mail.Reply("354 Go ahead"))
	fails(t, d, plain(), dispatchers.Broken, "protocol")
	dispatch(t, d, plain())
	wantMails(t, s, 1, 2)
}

func TestCleanupSaysGoodBye(t *testing.T) {
	s, d := serve(t, mail.Options{}, nil)
	dispatch(t, d, plain())
	if err := d.Cleanup(); err != nil {
		t.Fatal(err)
	}
	commands := s.Commands()
	if last := commands[len(commands)-1]; last != "QUIT" {
		t.Errorf("the last command is %q", last)
	}
	for range 2 { // which were still under way at a reload: no connection is kept
		dispatch(t, d, plain())
	}
	wantMails(t, s, 3, 3)
	if err := d.Cleanup(); err != nil {
		t.Error(err)
	}
}

func TestCleanupDoesNotHang(t *testing.T) {
	s, d := serve(t, mail.Options{}, nil)
	dispatch(t, d, plain())
	s.Script(mail.AtQUIT, mail.Hang)
	if err := d.Cleanup(); err != nil {
		t.Fatal(err)
	}
}

package smtp

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

// peer is a mail server at the other end of a pipe, where time is the test's:
// everything is fine with it, until it stalls.
type peer struct {
	stalls bool // when the mail should come
	dials  int

	mu       sync.Mutex
	commands []string
	rest     string // what came in the end, after a stall
}

func (p *peer) record(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commands = append(p.commands, line)
}

// last returns the last command.
func (p *peer) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.commands) == 0 {
		return ""
	}
	return p.commands[len(p.commands)-1]
}

// end returns what came after a stall.
func (p *peer) end() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rest
}

// dial is for use in a bubble of synctest.
func (p *peer) dial(context.Context) (*session, error) {
	p.dials++
	ours, theirs := net.Pipe()
	go p.serve(theirs)
	client, err := gosmtp.NewClient(ours, "mail.example.com")
	if err != nil {
		return nil, err
	}
	return &session{conn: &conn{Conn: ours, left: maxAnswers}, client: client, opened: time.Now()}, nil
}

func (p *peer) serve(c net.Conn) {
	defer c.Close()
	lines := bufio.NewReader(c)
	answer := "220 Ready"
	for {
		if _, err := io.WriteString(c, answer+"\r\n"); err != nil {
			return
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		p.record(line)
		switch answer = "250 Ok"; line {
		case "DATA":
			if !p.takeMail(c, lines) {
				return
			}
		case "QUIT":
			answer = "221 Bye"
		}
	}
}

func (p *peer) takeMail(c net.Conn, lines *bufio.Reader) bool {
	if _, err := io.WriteString(c, "354 Go ahead\r\n"); err != nil {
		return false
	}
	if p.stalls {
		time.Sleep(time.Hour)
		rest, _ := io.ReadAll(lines)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.rest = string(rest)
		return false
	}
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			return true
		}
	}
}

func bigMail() *outgoing {
	return &outgoing{from: "a@example.com", to: "b@example.com", content: []byte(strings.Repeat("0123456789\r\n", 10000))}
}

func TestStallInTheMailIsTemporary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{stalls: true}
		pool := newPool(p.dial, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		wantFailure(t, pool.send(ctx, bigMail()), dispatchers.Temporary, "timeout")
		time.Sleep(2 * time.Hour)
		pool.close()
		// A QUIT here would end the mail, and half of it would be delivered.
		if rest := p.end(); strings.Contains(rest, "\r\n.\r\n") || len(pool.idle) != 0 {
			t.Errorf("the server took half a mail for a whole one: …%q", rest[max(0, len(rest)-40):])
		}
	})
}

func TestIdleConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{}
		pool := newPool(p.dial, 1)
		if err := pool.send(t.Context(), bigMail()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(idleTime - time.Second)
		synctest.Wait()
		if p.last() == "QUIT" {
			t.Error("the connection ended early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if last := p.last(); last != "QUIT" || len(pool.idle) != 0 {
			t.Errorf("the last command is %q, %d connections are kept", last, len(pool.idle))
		}
		pool.close()
	})
}

func TestOldConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{}
		pool := newPool(p.dial, 1)
		for range 60 { // ten minutes
			if err := pool.send(t.Context(), bigMail()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		if p.dials != 2 {
			t.Errorf("%d connections in ten minutes, want 2", p.dials)
		}
		pool.close()
		synctest.Wait()
	})
}

func TestContextThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{}
		n, err := p.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		at, err := n.send(ctx, bigMail())
		wantFailure(t, err, dispatchers.Temporary, "canceled")
		if at != atSender || !n.broken || p.last() != "" {
			t.Errorf("came to %q, broken %v, last command %q", at, n.broken, p.last())
		}
		n.drop()
	})
}

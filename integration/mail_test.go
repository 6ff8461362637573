package integration

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/mail"
)

// slowListener makes a mail server take its time to answer a mail.
type slowListener struct {
	net.Listener
	takes time.Duration
}

func (l slowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return slowConn{c, l.takes}, err
}

type slowConn struct {
	net.Conn
	takes time.Duration
}

func (c slowConn) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "Ok: kept") {
		time.Sleep(c.takes)
	}
	return c.Conn.Write(b)
}

// Two mails at once over one connection to a slow server: the second waits for
// longer than the rest of its attempt would last.
func TestWaitingForAConnectionIsNotSending(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server, err := mail.Start(mail.Options{Listener: slowListener{listener, 2500 * time.Millisecond}, TLS: mail.None})
	must(t, err)
	t.Cleanup(server.Close)
	s := start(t, options{handler: fmt.Sprintf(`
		deadline 20s
		dispatcher mail smtp {
			server %s
			tls off
			from login@example.com
			address jeff@example.com
			connections 1
			timeout 4s
			retries 0
		}`, listener.Addr())})
	p := s.register("P-256")
	answers := make(chan string, 2)
	for range 2 {
		go func() {
			a, err := s.tryDispatch(nevisfido.Authentication, "mail", p.TargetID())
			answers <- fmt.Sprintf("%s, %v", a.Result, err)
		}()
	}
	for range 2 {
		if got := <-answers; got != "dispatched, <nil>" {
			t.Errorf("got %s", got)
		}
	}
	if n := len(server.Mails()); n != 2 {
		t.Errorf("%d mails, want 2", n)
	}
}

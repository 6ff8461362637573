// Package mailserver submits mails to a mail server (RFC 5321): it keeps
// connections, never sends a mail twice, and says what an answer means.
package mailserver

import (
	"context"
	"crypto/tls"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
)

const (
	// idleTime is how long a session is kept without use. Servers wait for five
	// minutes (RFC 5321, section 4.5.3.2.7), or less under stress.
	idleTime = 30 * time.Second
	// maxAge ends a session so that changes of DNS and of credentials arrive.
	maxAge = 5 * time.Minute
)

// The values of Options.TLS.
const (
	Implicit = "implicit" // RFC 8314
	STARTTLS = "starttls" // RFC 3207; a server that does not offer it is not used
	Off      = "off"
)

// Options are where the server is and how it is spoken to.
type Options struct {
	Host        string // the name in the server's certificate
	Address     string // host:port
	Connect     httpclient.Dial
	TLS         string
	TLSConfig   *tls.Config // with Host as its ServerName
	HELO        string
	Login       *Login // nil for none
	Connections int    // at most
}

// Server is a mail server. It keeps sessions, because opening one costs much more
// than a mail does. None of them outlives Close: the next mail opens a new one.
type Server struct {
	Options

	slots chan struct{} // one for each mail under way
	took  atomic.Int64  // nanoseconds from MAIL to the last answer of the last mail

	mu     sync.Mutex
	idle   []*session // the last used one last
	closed bool
}

// New returns a server. It dials nothing.
func New(o Options) *Server {
	return &Server{Options: o, slots: make(chan struct{}, o.Connections)}
}

// Mail is a mail that is ready to be sent.
type Mail struct {
	From, To string
	Content  []byte // RFC 5322, in 7-bit lines that end with CR LF
}

// Probe opens a session of its own and ends it again. The error is a
// *dispatchers.Error.
func (s *Server) Probe(ctx context.Context) error {
	n, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer n.quit() //nolint:contextcheck // QUIT has its own time
	return n.do(ctx, atHello, n.client.Noop)
}

// Send sends a mail over a kept session or a new one. The time for it begins
// when it is its turn. A mail that takes as long as the last one did is not
// begun when there is less time left: the server would have it, and no answer
// would tell. The error is a *dispatchers.Error.
func (s *Server) Send(ctx context.Context, m *Mail) error {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return busy(ctx.Err())
	}
	ctx, cancel := dispatchers.Begin(ctx)
	defer cancel()
	for {
		n, err := s.session(ctx)
		if err != nil {
			return err
		}
		if again, err := s.attempt(ctx, n, m); !again {
			return err
		}
	}
}

// attempt sends a mail over a session, and puts that back. A server that has
// closed a kept session shows it no earlier than here. As long as it has nothing
// of the mail, another session can have it.
func (s *Server) attempt(ctx context.Context, n *session, m *Mail) (again bool, err error) {
	kept := n.kept
	defer s.put(n) //nolint:contextcheck // QUIT is not part of the mail
	last := s.took.Load()
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < time.Duration(last) {
		s.took.CompareAndSwap(last, last/50*49) // a server that was slow once gets its chance
		return false, busy(context.DeadlineExceeded)
	}
	start := time.Now()
	at, err := n.send(ctx, m)
	if err == nil {
		s.took.Store(int64(time.Since(start)))
	}
	return err != nil && kept && n.broken && at < atContent && ctx.Err() == nil, err
}

func busy(cause error) error {
	return dispatchers.Fail(dispatchers.Temporary, reasonBusy,
		"it was not the mail's turn in time (raise connections, or deadline, if this is frequent): %w", cause)
}

// session returns one that was kept, or else a new one.
func (s *Server) session(ctx context.Context) (*session, error) {
	for n := s.take(); n != nil; n = s.take() {
		// RSET also takes back whatever a refused mail has left.
		if n.do(ctx, atHello, n.client.Reset) == nil {
			return n, nil
		}
		n.drop()
	}
	return s.dial(ctx)
}

// take returns the session that was kept last, nil for none.
func (s *Server) take() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	for last, n := range slices.Backward(s.idle) {
		s.idle = slices.Delete(s.idle, last, last+1)
		if n.idle.Stop() { // else it is just ending
			return n
		}
	}
	return nil
}

// put keeps a session for the next mail, or ends it. No mail waits for QUIT.
func (s *Server) put(n *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case n.broken, s.closed:
		n.drop()
	case time.Since(n.opened) > maxAge:
		go n.quit()
	default:
		n.kept, n.idle = true, time.AfterFunc(idleTime, n.quit)
		s.idle = append(s.idle, n)
	}
}

// Close ends the sessions that are kept. Those in use end with their mail.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	var quits sync.WaitGroup
	for n := s.take(); n != nil; n = s.take() {
		quits.Go(n.quit)
	}
	quits.Wait()
}

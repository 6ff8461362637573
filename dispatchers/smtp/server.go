package smtp

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

// server is the mail server. It keeps sessions, because opening one costs much
// more than a mail does. None of them outlives a reload: the first mail opens a
// new one.
type server struct {
	host, address string
	connect       httpclient.Dial
	tls           string
	config        *tls.Config
	helo          string
	login         *login // nil for none

	slots chan struct{} // one for each mail under way
	took  atomic.Int64  // nanoseconds from MAIL to the last answer of the last mail

	mu     sync.Mutex
	idle   []*session // the last used one last
	closed bool
}

// send sends a mail over a kept session or a new one. The time for it begins
// when it is its turn. A mail that takes as long as the last one did is not
// begun when there is less time left: the server would have it, and no answer
// would tell.
func (s *server) send(ctx context.Context, m *outgoing) error {
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
func (s *server) attempt(ctx context.Context, n *session, m *outgoing) (again bool, err error) {
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
func (s *server) session(ctx context.Context) (*session, error) {
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
func (s *server) take() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	for last := len(s.idle) - 1; last >= 0; last-- {
		n := s.idle[last]
		s.idle = slices.Delete(s.idle, last, last+1)
		if n.idle.Stop() { // else it is just ending
			return n
		}
	}
	return nil
}

// put keeps a session for the next mail, or ends it. No mail waits for QUIT.
func (s *server) put(n *session) {
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

// close ends the sessions that are kept. Those in use end with their mail.
func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	var quits sync.WaitGroup
	for n := s.take(); n != nil; n = s.take() {
		quits.Go(n.quit)
	}
	quits.Wait()
}

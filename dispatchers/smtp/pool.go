package smtp

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

const (
	// idleTime is how long a session is kept without use. Servers wait for five
	// minutes (RFC 5321, section 4.5.3.2.7), or less under stress.
	idleTime = 30 * time.Second
	// maxAge ends a session so that changes of DNS and of credentials arrive.
	maxAge = 5 * time.Minute
	// quitTime bounds QUIT and its answer.
	quitTime = time.Second
)

// pool keeps sessions, because opening one costs much more than a mail does.
// Nothing of it outlives a reload: the first mail opens a new session.
type pool struct {
	dial  func(context.Context) (*session, error)
	slots chan struct{} // one for each mail under way
	took  atomic.Int64  // nanoseconds from MAIL to the last answer of the last mail

	mu      sync.Mutex
	idle    []*session // the last used one last
	closed  bool
	closing sync.WaitGroup
}

func newPool(dial func(context.Context) (*session, error), size int) *pool {
	return &pool{dial: dial, slots: make(chan struct{}, size)}
}

// send sends a mail over a kept session or a new one. The time for it begins
// when it is its turn. A mail that takes as long as the last one did is not
// begun when there is less time left: the server would have it, and no answer
// would tell.
func (p *pool) send(ctx context.Context, m *outgoing) error {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return busy(ctx.Err())
	}
	ctx, cancel := dispatchers.Begin(ctx)
	defer cancel()
	for {
		n, kept, err := p.session(ctx)
		if err != nil {
			return err
		}
		if last := p.took.Load(); remaining(ctx) < time.Duration(last) {
			p.took.CompareAndSwap(last, last/50*49) // a server that was slow once gets its chance
			p.put(n)                                //nolint:contextcheck // QUIT is not part of the mail
			return busy(context.DeadlineExceeded)
		}
		start := time.Now()
		at, err := n.send(ctx, m)
		if err == nil {
			p.took.Store(int64(time.Since(start)))
		}
		again := err != nil && kept && n.broken && at < atContent && ctx.Err() == nil
		p.put(n) //nolint:contextcheck // QUIT is not part of the mail
		// A server that has closed a kept session shows it no earlier than
		// here. It has nothing of the mail, so another session can have it.
		if !again {
			return err
		}
	}
}

func busy(cause error) error {
	return dispatchers.Fail(dispatchers.Temporary, reasonBusy,
		"it was not the mail's turn in time (raise connections, or deadline, if this is frequent): %w", cause)
}

// remaining returns the time until the deadline of a context.
func remaining(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ceiling
	}
	return time.Until(deadline)
}

// session returns one that was kept, or else a new one.
func (p *pool) session(ctx context.Context) (n *session, kept bool, err error) {
	for n := p.take(); n != nil; n = p.take() {
		// RSET also takes back whatever a refused mail has left.
		if n.do(ctx, atHello, n.client.Reset) == nil {
			return n, true, nil
		}
		n.drop()
	}
	n, err = p.dial(ctx)
	return n, false, err
}

func (p *pool) take() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	last := len(p.idle) - 1
	n := p.idle[last]
	p.idle = slices.Delete(p.idle, last, last+1)
	n.idle.Stop()
	return n
}

// put keeps a session for the next mail, or ends it.
func (p *pool) put(n *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case n.broken, p.closed:
		n.drop()
	case time.Since(n.opened) > maxAge:
		p.end(n)
	default:
		n.idle = time.AfterFunc(idleTime, func() { p.expire(n) })
		p.idle = append(p.idle, n)
	}
}

func (p *pool) expire(n *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.idle, n); i >= 0 { // else it was just taken
		p.idle = slices.Delete(p.idle, i, i+1)
		p.end(n)
	}
}

// end sends QUIT in the background: no mail waits for it.
func (p *pool) end(n *session) {
	p.closing.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), quitTime)
		defer cancel()
		n.quit(ctx)
	})
}

// close ends the sessions that are kept. Those in use end with their mail.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for _, n := range p.idle {
		n.idle.Stop()
		p.end(n)
	}
	p.idle = nil
	p.mu.Unlock()
	p.closing.Wait()
}

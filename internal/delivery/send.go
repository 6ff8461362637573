package delivery

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/tracing"
)

// deliverVia delivers over one channel. With mustSeal the message may not leave
// in clear. A composite may call it, for its members, from goroutines of its own.
func (r *run) deliverVia(ctx context.Context, c *Channel, mustSeal bool) (receipt dispatchers.Receipt, err error) {
	defer catchPanic(c.Name, &err)
	way := r.send
	if c.Composite != nil {
		way = r.compose
	}
	receipt, err = way(ctx, c, mustSeal)
	if err == nil && receipt.Dispatcher == "" {
		receipt.Dispatcher = c.Name
	}
	return receipt, err
}

// send delivers over a channel that is not a composite.
func (r *run) send(ctx context.Context, c *Channel, mustSeal bool) (dispatchers.Receipt, error) {
	p, failure := r.plan(ctx, c, mustSeal)
	if failure != nil {
		return dispatchers.Receipt{}, failure
	}
	if r.rehearsal {
		r.noteEncryption(p)
		return dispatchers.Receipt{}, nil
	}
	m, failure := r.message(ctx, c, p)
	if failure == nil {
		failure = r.shorten(ctx, c, m)
	}
	if failure != nil {
		return dispatchers.Receipt{}, failure
	}
	receipt, failure := c.attempts(ctx, m, func(failure *dispatchers.Error, took time.Duration) {
		r.journal.attempted(c.Name, failure, took)
		if failure != nil {
			r.log.Warn("an attempt at a delivery failed", slog.String("dispatcher", c.Name), slog.String("token", r.tokenHash), slog.Any("error", failure))
		}
	})
	if failure != nil {
		r.quarantine(ctx, c, p.recipient, failure)
		return receipt, failure
	}
	if s := receipt.StandIn; s != nil {
		r.journal.fellBack(c.Name, s.Name, s.Failure)
	}
	return receipt, nil
}

// compose lets a composite use its members. Where one of them must seal, all
// must: none may send in clear what another had to encrypt.
func (r *run) compose(ctx context.Context, c *Channel, mustSeal bool) (dispatchers.Receipt, error) {
	mustSeal = mustSeal || c.mustSeal
	d := dispatchers.Delivery{FellBack: r.fellBack}
	for _, member := range c.members {
		if !member.serves(r.dispatch.Operation) {
			continue
		}
		d.Members = append(d.Members, dispatchers.Member{
			Name:    member.Name,
			Deliver: func(ctx context.Context) (dispatchers.Receipt, error) { return r.member(ctx, member, mustSeal) },
		})
	}
	if len(d.Members) == 0 {
		return dispatchers.Receipt{}, notServed(c)
	}
	return c.Composite.Compose(ctx, d)
}

func (r *run) member(ctx context.Context, c *Channel, mustSeal bool) (dispatchers.Receipt, error) {
	if r.rehearsal {
		return r.deliverVia(ctx, c, mustSeal)
	}
	lease, failure := r.courier.admit(ctx, r.dispatch, c, nil)
	if failure != nil {
		r.journal.unattempted(c.Name, failure)
		return dispatchers.Receipt{}, failure
	}
	defer lease.Release()
	receipt, err := r.deliverVia(ctx, c, mustSeal)
	if err != nil {
		failure = failureOf(err)
		r.journal.unattempted(c.Name, failure)
	}
	lease.GiveBack(ctx, r.journal.now(), failure)
	return receipt, err
}

func (r *run) fellBack(from, to dispatchers.Member, failure *dispatchers.Error) {
	if r.rehearsal {
		return
	}
	r.journal.fellBack(from.Name, to.Name, failure)
	r.log.Warn("falling back", slog.String("token", r.tokenHash), slog.String("from", from.Name), slog.String("to", to.Name), slog.Any("error", failure))
}

// Pauses between attempts, unless the third party asks for a longer one.
const (
	firstPause = 250 * time.Millisecond
	maxPause   = 4 * time.Second
)

// attempts makes attempts until one succeeds, fails for good, or the context's
// deadline would pass before the next. tell is told of each.
func (c *Channel) attempts(ctx context.Context, m *dispatchers.Message, tell func(*dispatchers.Error, time.Duration)) (dispatchers.Receipt, *dispatchers.Error) {
	pause := firstPause
	for attempt := 0; ; attempt++ {
		start := time.Now()
		receipt, failure := c.attempt(ctx, m)
		tell(failure, time.Since(start))
		if failure == nil || failure.Class != dispatchers.Temporary || attempt >= c.Retries {
			return receipt, failure
		}
		wait := max(failure.RetryAfter, pause/2+rand.N(pause/2)) //nolint:gosec // jitter needs no secrecy
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return receipt, failure
		}
		select {
		case <-ctx.Done():
			return receipt, failure
		case <-time.After(wait):
		}
		pause = min(2*pause, maxPause)
	}
}

// attempt makes one attempt within the channel's timeout. A guest module that
// panics is broken; it does not take the server down.
func (c *Channel) attempt(ctx context.Context, m *dispatchers.Message) (receipt dispatchers.Receipt, failure *dispatchers.Error) {
	ctx, span := tracing.Start(ctx, tracing.Attempt)
	defer func() { c.traceAttempt(span, failure) }()
	ctx, cancel := dispatchers.Attempt(ctx, c.Timeout)
	defer cancel()
	receipt, err := func() (receipt dispatchers.Receipt, err error) {
		defer catchPanic(c.Name, &err)
		return c.Dispatcher.Dispatch(ctx, m)
	}()
	if err != nil {
		return receipt, failureOf(err)
	}
	return receipt, nil
}

// traceAttempt ends the span of an attempt.
func (c *Channel) traceAttempt(span tracing.Span, failure *dispatchers.Error) {
	class := dispatchers.Delivered
	if failure != nil {
		class = failure.Class
		span.Text(tracing.Reason, failure.Reason)
		span.Fail(failure.Reason)
	}
	span.Text(tracing.Dispatcher, c.Name)
	span.Text(tracing.DispatcherType, c.Type)
	span.Text(tracing.Class, string(class))
	span.End()
}

// catchPanic turns the panic of a guest module into an error. The value is not
// shown: it may hold anything.
func catchPanic(name string, err *error) {
	if cause := recover(); cause != nil {
		*err = dispatchers.Fail(dispatchers.Broken, "panic", "dispatcher %q panicked with a %T", name, cause)
	}
}

// failureOf classifies the error of a guest module. None is ever taken for
// success.
func failureOf(err error) *dispatchers.Error {
	failure := dispatchers.AsError(err)
	if failure == nil || !failure.Class.Valid() {
		return dispatchers.Fail(dispatchers.Broken, "unclassified", "the dispatcher returned an error of no known class")
	}
	return failure
}

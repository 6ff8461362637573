package exchange

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Policy says when a message may leave without encryption.
type Policy string

// The encryption policies.
const (
	// Required never sends clear text: no key means no dispatch.
	Required Policy = "required"
	// Preferred sends clear text only where the target has no key.
	Preferred Policy = "preferred"
	// Off sends the message as nevisFIDO gives it.
	Off Policy = "off"
)

// Channel is a configured dispatcher: the guest with the policy, the address
// and the patience that the operator gave it.
type Channel struct {
	Name string // what callers ask for
	Type string // the guest's type, such as "fcm"

	// Exactly one of these is set.
	Dispatcher dispatchers.Dispatcher
	Composite  dispatchers.Composite

	Traits     dispatchers.Traits
	Encryption Policy
	Address    dispatchers.Template // "" for the target's own
	BaseURL    string               // of the link; "" for that of nevisFIDO's link
	Handle     string               // URL of short links, without the slash at its end; "" for long ones
	Timeout    time.Duration        // of one attempt
	Retries    int                  // further attempts after a temporary failure
	Operations []nevisfido.Operation
	Limits     []dispatchers.Limit

	// Slots bounds the exchanges that deliver at the same time; its capacity
	// is the bound.
	Slots chan struct{}
}

// serves reports whether the channel serves the operation: by its own option,
// and with one member at least where it has members.
func (c *Channel) serves(op nevisfido.Operation, channels map[string]*Channel) bool {
	if len(c.Operations) != 0 && !slices.Contains(c.Operations, op) {
		return false
	}
	return c.Composite == nil || slices.ContainsFunc(c.Composite.Members(), func(name string) bool {
		member := channels[name]
		return member != nil && member.serves(op, channels)
	})
}

// acquire takes a place among the exchanges that deliver at the same time; the
// result is nil where all are taken.
func (c *Channel) acquire() (release func()) {
	select {
	case c.Slots <- struct{}{}:
		return func() { <-c.Slots }
	default:
		return nil
	}
}

// Pauses between attempts, unless the third party asks for a longer one.
const (
	firstPause = 250 * time.Millisecond
	maxPause   = 4 * time.Second
)

// send makes attempts until one succeeds, fails for good, or the context's
// deadline would pass before the next. tried is told of each.
func (c *Channel) send(ctx context.Context, m *dispatchers.Message, tried func(*dispatchers.Error, time.Duration)) (dispatchers.Receipt, error) {
	pause := firstPause
	for attempt := 0; ; attempt++ {
		start := time.Now()
		receipt, failure := c.attempt(ctx, m)
		tried(failure, time.Since(start))
		if failure == nil {
			return receipt, nil
		}
		if failure.Class != dispatchers.Temporary || attempt >= c.Retries {
			return receipt, failure
		}
		wait := max(failure.RetryAfter, pause/2+rand.N(pause/2)) //nolint:gosec // jitter is no secret
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

// attempt makes one attempt within the channel's timeout. A guest that panics
// is broken; it does not take the server down.
func (c *Channel) attempt(ctx context.Context, m *dispatchers.Message) (dispatchers.Receipt, *dispatchers.Error) {
	ctx, cancel := dispatchers.Attempt(ctx, c.Timeout)
	defer cancel()
	receipt, err := c.dispatch(ctx, m)
	if err != nil {
		return receipt, failureOf(err)
	}
	return receipt, nil
}

func (c *Channel) dispatch(ctx context.Context, m *dispatchers.Message) (receipt dispatchers.Receipt, err error) {
	defer caught(c.Name, &err)
	return c.Dispatcher.Dispatch(ctx, m)
}

// caught turns the panic of a guest into an error. The value is not shown: it
// may hold anything.
func caught(name string, err *error) {
	if cause := recover(); cause != nil {
		*err = dispatchers.Fail(dispatchers.Broken, "panic", "dispatcher %q panicked with a %T", name, cause)
	}
}

// failureOf classifies the error of a guest. None is ever taken for success.
func failureOf(err error) *dispatchers.Error {
	failure := dispatchers.AsError(err)
	if failure == nil || !failure.Class.Valid() {
		return dispatchers.Fail(dispatchers.Broken, "unclassified", "the dispatcher returned an error of no known class")
	}
	return failure
}

// mustSeal reports whether the channel, or one that it uses, requires
// encryption.
func (c *Channel) mustSeal(channels map[string]*Channel) bool {
	if c.Encryption == Required || c.Composite == nil {
		return c.Encryption == Required
	}
	return slices.ContainsFunc(c.Composite.Members(), func(name string) bool {
		member := channels[name]
		return member != nil && member.mustSeal(channels)
	})
}

// CheckComposites fails when a composite names a dispatcher that does not
// exist, contains itself, or would send in clear beside a member that must
// seal.
func CheckComposites(channels map[string]*Channel) error {
	for name, c := range channels {
		if c.Composite == nil {
			continue
		}
		if len(c.Composite.Members()) == 0 {
			return fmt.Errorf("dispatcher %q names no other dispatchers", name)
		}
		members, err := leaves(channels, name, nil)
		if err != nil {
			return err
		}
		for _, member := range members {
			if member.Encryption == Off && c.mustSeal(channels) {
				return fmt.Errorf("dispatcher %q has to encrypt, and %q in it has encryption off; set that to preferred or required", name, member.Name)
			}
		}
	}
	return nil
}

// leaves returns the channels that a composite uses in the end.
func leaves(channels map[string]*Channel, name string, above []string) ([]*Channel, error) {
	c, ok := channels[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("dispatcher %q names the dispatcher %q, which is not configured", above[len(above)-1], name)
	case slices.Contains(above, name):
		return nil, fmt.Errorf("dispatcher %q contains itself", name)
	case c.Composite == nil:
		return []*Channel{c}, nil
	}
	var all []*Channel
	for _, member := range c.Composite.Members() {
		below, err := leaves(channels, member, append(above, name))
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}

package delivery

import (
	"maps"
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

// Channel is a configured dispatcher: the guest module with the options that
// all dispatchers have.
type Channel struct {
	Name string // what callers ask for
	Type string // of the guest module, such as "fcm"

	// Exactly one of these is set.
	Dispatcher dispatchers.Dispatcher
	Composite  dispatchers.Composite

	Traits     dispatchers.Traits
	Encryption Policy
	Address    dispatchers.Template // "" for the target's own
	BaseURL    string               // of the link; "" for that of nevisFIDO's link
	ShortLinks string               // base URL of short links, without a slash at its end; "" for long links
	Timeout    time.Duration        // of one attempt
	Retries    int                  // further attempts after a temporary failure
	Operations []nevisfido.Operation
	Limits     []dispatchers.Limit

	// Slots bounds the dispatches that use the channel at the same time; its
	// capacity is the bound.
	Slots chan struct{}

	// Set by Bind.
	members  []*Channel // of a composite
	mustSeal bool       // the channel, or one of its members, requires encryption
}

// serves reports whether the channel serves the operation: by its own option,
// and with at least one member where it is a composite.
func (c *Channel) serves(op nevisfido.Operation) bool {
	if len(c.Operations) != 0 && !slices.Contains(c.Operations, op) {
		return false
	}
	return c.Composite == nil || slices.ContainsFunc(c.members, func(m *Channel) bool { return m.serves(op) })
}

// notServed is the failure of a channel that does not serve the operation.
func notServed(c *Channel) *dispatchers.Error {
	return dispatchers.Fail(dispatchers.Refused, "operation", "dispatcher %q does not serve this operation; see its option operations", c.Name)
}

// acquire takes one of the channel's slots; release is nil where all are taken.
func (c *Channel) acquire() (release func()) {
	select {
	case c.Slots <- struct{}{}:
		return func() { <-c.Slots }
	default:
		return nil
	}
}

// addressType returns the type of dispatcher whose addresses the targets have
// that are registered for the channel. Of a composite it is that of the one kind
// of member that needs an address of the target, or else of the one that can
// use it. Where that leaves a choice it is "", and ambiguous.
func (c *Channel) addressType() (kind string, ambiguous bool) {
	if c.Composite == nil {
		return c.Type, false
	}
	needing, using := make(map[string]bool), make(map[string]bool)
	c.addressTypes(needing, using)
	if len(needing) == 0 {
		needing = using
	}
	if len(needing) != 1 {
		return "", len(needing) > 1
	}
	return slices.Collect(maps.Keys(needing))[0], false
}

func (c *Channel) addressTypes(needing, using map[string]bool) {
	switch {
	case c.Composite != nil:
		for _, m := range c.members {
			m.addressTypes(needing, using)
		}
	case c.Address != "" || c.Traits.AnswersCaller: // uses none that a target was registered with
	case c.Traits.AddressOptional:
		using[c.Type] = true
	default:
		needing[c.Type] = true
	}
}

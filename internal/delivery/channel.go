package delivery

import (
	"fmt"
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

// Serves reports whether the channel serves the operation: by its own option,
// and with at least one member where it is a composite.
func (c *Channel) Serves(op nevisfido.Operation) bool {
	if len(c.Operations) != 0 && !slices.Contains(c.Operations, op) {
		return false
	}
	return c.Composite == nil || slices.ContainsFunc(c.members, func(m *Channel) bool { return m.Serves(op) })
}

// NotServed is the failure of a channel that does not serve the operation.
func NotServed(c *Channel) *dispatchers.Error {
	return dispatchers.Fail(dispatchers.Refused, "operation", "dispatcher %q does not serve this operation; see its option operations", c.Name)
}

// Acquire takes one of the channel's slots; release is nil where all are taken.
func (c *Channel) Acquire() (release func()) {
	select {
	case c.Slots <- struct{}{}:
		return func() { <-c.Slots }
	default:
		return nil
	}
}

// inClear returns the name of a member with encryption off, "" where there is
// none.
func (c *Channel) inClear() string {
	for _, m := range c.members {
		if m.Composite == nil && m.Encryption == Off {
			return m.Name
		}
		if name := m.inClear(); name != "" {
			return name
		}
	}
	return ""
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

// CompositeError reports a composite that cannot work with the other
// dispatchers.
type CompositeError struct {
	Dispatcher string // name of the composite
	Err        error
}

func (e *CompositeError) Error() string { return fmt.Sprintf("dispatcher %q %v", e.Dispatcher, e.Err) }

// Unwrap returns the cause.
func (e *CompositeError) Unwrap() error { return e.Err }

// Bind tells composites of their members. The error is a *CompositeError, where a
// composite names a dispatcher that does not exist, contains itself, or would send
// in clear what another member has to encrypt. Of several faults it is always the
// same one.
func Bind(channels map[string]*Channel) error {
	bound := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(channels)) {
		if err := bind(channels, bound, name, nil); err != nil {
			return err
		}
	}
	return nil
}

// bind tells a channel, and those that it uses, of their members. above are the
// composites that use it.
func bind(channels map[string]*Channel, bound map[string]bool, name string, above []string) error {
	fault := func(format string, args ...any) error { return &CompositeError{name, fmt.Errorf(format, args...)} }
	if slices.Contains(above, name) {
		return fault("contains itself: take %q out of the members of %q, or name another dispatcher there", name, above[len(above)-1])
	}
	if bound[name] {
		return nil
	}
	c := channels[name]
	c.members, c.mustSeal = nil, c.Encryption == Required
	if c.Composite == nil {
		bound[name] = true
		return nil
	}
	for _, member := range c.Composite.Members() {
		m := channels[member]
		if m == nil {
			return fault("names the dispatcher %q, which is not configured", member)
		}
		if err := bind(channels, bound, member, append(above, name)); err != nil {
			return err
		}
		c.members = append(c.members, m)
		c.mustSeal = c.mustSeal || m.mustSeal
	}
	if len(c.members) == 0 {
		return fault("names no other dispatchers")
	}
	if member := c.inClear(); c.mustSeal && member != "" {
		return fault("has to encrypt, and %q in it has encryption off; set that to preferred or required", member)
	}
	bound[name] = true
	return nil
}

package delivery

import (
	"fmt"
	"maps"
	"slices"
)

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

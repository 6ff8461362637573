// Package composite holds the dispatchers that are made of dispatchers:
// fallback, which tries one after the other, and fan_out, which uses several
// side by side.
package composite

import (
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

// checkMembers fails where there are none, or one is named twice.
func checkMembers(option string, members []string) error {
	if len(members) == 0 {
		return fmt.Errorf("%s names no dispatcher; name one or more of those that are configured", option)
	}
	for i, name := range members {
		if slices.Contains(members[:i], name) {
			return fmt.Errorf("%s names the dispatcher %q twice", option, name)
		}
	}
	return nil
}

// memberOption reads names of dispatchers and adds them to those named before.
func memberOption(d *caddyfile.Dispenser, to *[]string) error {
	word := d.Val()
	names := d.RemainingArgs()
	if len(names) == 0 {
		return d.Errf("%s takes the names of one or more dispatchers", word)
	}
	for _, name := range names {
		if slices.Contains(*to, name) {
			return d.Errf("%s names the dispatcher %q twice", word, name)
		}
		*to = append(*to, name)
	}
	return nil
}

// start reads the type of a guest, which takes no arguments.
func start(d *caddyfile.Dispenser) error {
	d.Next()
	kind := d.Val()
	if d.NextArg() {
		return d.Errf("unexpected argument %q: the options of %s stand in a block", d.Val(), kind)
	}
	return nil
}

// serving returns the members that serve the operation of the message.
func serving(m *dispatchers.Message, members []string) ([]string, error) {
	if m.Serves == nil {
		return members, nil
	}
	members = slices.DeleteFunc(slices.Clone(members), func(name string) bool { return !m.Serves(name) })
	if len(members) == 0 {
		return nil, dispatchers.Fail(dispatchers.Refused, "operation", "none of the members serves this operation; see their option operations")
	}
	return members, nil
}

// worst returns the failure that tells most of several: the one to show where
// none of the members delivered. Trouble of our own comes first, as it is what
// an operator can mend, and what is right for every member comes last.
func worst(failures []*dispatchers.Error) *dispatchers.Error {
	order := []dispatchers.Class{
		dispatchers.Broken, dispatchers.Temporary, dispatchers.Refused,
		dispatchers.NoKey, dispatchers.Expired, dispatchers.NoTarget,
	}
	return slices.MinFunc(failures, func(a, b *dispatchers.Error) int {
		return slices.Index(order, a.Class) - slices.Index(order, b.Class)
	})
}

// rests are what members that have answered left under way.
type rests []func()

func (r *rests) add(rest func()) {
	if rest != nil {
		*r = append(*r, rest)
	}
}

// wait returns what waits for all of it, nil for nothing.
func (r rests) wait() func() {
	if len(r) == 0 {
		return nil
	}
	return func() {
		for _, rest := range r {
			rest()
		}
	}
}

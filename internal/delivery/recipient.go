package delivery

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// A recipient is where a message goes.
type recipient struct {
	address string // "" where the channel needs none
	own     bool   // it is the target's own address, or made of it
}

// recipient finds the recipient. The target's own address is right only for the
// kind of channel that it was registered for.
func (r *run) recipient(ctx context.Context, c *Channel) (recipient, *dispatchers.Error) {
	optional := c.Traits.AnswersCaller || c.Traits.AddressOptional && c.Address == ""
	if c.Address.Uses("oob.user.") {
		if _, err := r.findUser(ctx); err != nil && !errors.Is(err, targets.ErrNotFound) {
			return recipient{}, dispatchers.Fail(dispatchers.Broken, "user_unavailable", "finding the address of the user: %w", err)
		}
	}
	var to recipient
	switch {
	case c.Address != "":
		to.address = strings.Trim(r.baseMessage(ctx, c).Expand(c.Address, nil), " ")
		to.own = slices.Contains(c.Address.Placeholders(), "oob.target")
	case c.Traits.AnswersCaller:
	case r.dispatch.Target != nil && r.courier.reaches(c, r.dispatch.Target.Dispatcher):
		to = recipient{r.dispatch.Target.Address, true}
	}
	switch {
	case strings.ContainsFunc(to.address, c.forbids):
		return recipient{}, dispatchers.Fail(dispatchers.Refused, "address", "the address holds control characters")
	case len(dispatchers.Template(to.address).Placeholders()) > 0:
		return recipient{}, dispatchers.Fail(dispatchers.Broken, "address_placeholder", "the address for dispatcher %q holds a placeholder that has no value; check the spelling of its option address", c.Name)
	case to.address == "" && !optional && c.Address == "" && r.dispatch.unknownTarget():
		return recipient{}, dispatchers.Fail(dispatchers.NoTarget, "unknown_target", "the dispatch target is unknown, and with it the address for dispatcher %q", c.Name)
	case to.address == "" && !optional:
		return recipient{}, dispatchers.Fail(dispatchers.NoTarget, "no_address", "the dispatch target has no address for dispatcher %q; see its option address", c.Name)
	}
	return to, nil
}

// forbids reports whether an address must not hold a character.
func (c *Channel) forbids(char rune) bool {
	if char == '\n' || char == '\r' {
		return !c.Traits.AddressLines
	}
	return unicode.IsControl(char)
}

// reaches reports whether an address that was registered for a dispatcher's
// name is one of this channel's kind. A record without such a name has a push
// address: nevisFIDO has no other dispatcher of its own that takes targets.
func (c *Courier) reaches(channel *Channel, name string) bool {
	name = cmp.Or(name, nevisfido.BuiltInFCM)
	if registered := c.Channels[name]; registered != nil {
		kind, _ := registered.addressType()
		return kind == channel.Type
	}
	return name == channel.Traits.BuiltIn
}

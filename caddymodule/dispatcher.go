package caddymodule

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Dispatcher is one configured dispatcher: a guest module with the name that
// callers use and the options that all dispatchers have. An option that all
// dispatchers have is a field and a row of the table of one of the groups; what
// takes none of a group refuses it.
type Dispatcher struct {
	// The value of `dispatcher` in requests that means this one: letters,
	// digits, `.`, `_` and `-`. It may be the name of one of nevisFIDO's own
	// dispatchers, which it then replaces.
	Name string `json:"name,omitempty"`

	// The channel.
	DispatcherRaw json.RawMessage `json:"dispatcher" caddy:"namespace=oob.dispatchers inline_key=type"`

	Addressing
	Attempts
	Use

	// How many exchanges may deliver through it at the same time; more are
	// refused. Default: 256
	MaxConcurrent int `json:"max_concurrent,omitempty"`

	lines conf.Lines // in the Caddyfile that it comes from, if any
	guest any        // as the Caddyfile has it, not provisioned; nil for JSON

	notice string // the option that it comes from, if it has no name
}

// Addressing holds the options about where a message goes. Composites leave them
// to their members.
type Addressing struct {
	// Where the message goes, a template with placeholders such as
	// `{oob.user.email}`. Default: the address of the target, if it was
	// registered for this kind of dispatcher
	Address dispatchers.Template `json:"address,omitempty"`

	// The URL that opens the app, to which the message is appended as the
	// parameter `dispatchTokenResponse`. Placeholders are resolved when the
	// configuration is loaded. Default: that of nevisFIDO's own link
	BaseURL string `json:"base_url,omitempty"`

	// Replaces links, which are long, by short ones: the public https URL of
	// a path on this site that is the dispatcher's to use, such as
	// `https://fido.example.com/oob`. The encrypted message waits in the
	// store until the token expires. The short link leads to a page with a
	// button, which opens the app once. Messages in clear keep their long
	// links. Placeholders are resolved when the configuration is loaded.
	// Default: none
	ShortLinks string `json:"short_links,omitempty"`

	// Deprecated: the old name of `short_links`.
	Handle string `json:"handle,omitempty"`
}

var addressingOptions = conf.Table[Addressing]{
	conf.Text("address", func(a *Addressing) *dispatchers.Template { return &a.Address }, dispatchers.CheckTemplate),
	conf.URL("base_url", func(a *Addressing) *string { return &a.BaseURL }, nevisfido.ValidBaseURL),
	conf.URL(shortLinks, func(a *Addressing) *string { return &a.ShortLinks }, validShortLinks),
	conf.URL(oldShortLinks, func(a *Addressing) *string { return &a.Handle }, validShortLinks),
}

// Attempts holds the options about attempts at a delivery. Composites leave them
// to their members.
type Attempts struct {
	// The time for one attempt. Default: 5s
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// The number of further attempts after a temporary failure, 0 to 10.
	// Default: 2
	Retries *int `json:"retries,omitempty"`
}

var attemptOptions = conf.Table[Attempts]{
	conf.Duration("timeout", func(a *Attempts) *caddy.Duration { return &a.Timeout }, 0, 5*time.Second),
	conf.OptionalInt("retries", func(a *Attempts) **int { return &a.Retries }, 0, 10, 2),
}

// Use holds the options about which dispatches a dispatcher serves, and how.
type Use struct {
	// `required` never sends a message in clear: no key means no dispatch.
	// `preferred` sends it in clear only where the target has no key. `off`
	// sends it as nevisFIDO gives it. Default: `preferred` for `qr_code` and
	// `link`, `required` for all others
	Encryption delivery.Policy `json:"encryption,omitempty"`

	// The operations that it serves. Default: all
	Operations []nevisfido.Operation `json:"operations,omitempty"`

	// How often this dispatcher may be used, in addition to the limits that
	// hold for all.
	Limits []Limit `json:"limits,omitempty"`

	// Drops the limits that this kind of dispatcher has of its own.
	LimitsOff bool `json:"limits_off,omitempty"`
}

var useOptions = conf.Table[Use]{
	conf.OneOf("encryption", func(u *Use) *delivery.Policy { return &u.Encryption },
		delivery.Required, delivery.Preferred, delivery.Off),
	conf.Words("operations", func(u *Use) *[]nevisfido.Operation { return &u.Operations }, checkOperation),
	limitOption(func(u *Use) (*[]Limit, *bool) { return &u.Limits, &u.LimitsOff }),
}

var commonOptions = conf.Join(
	conf.Embed(addressingOptions, func(d *Dispatcher) *Addressing { return &d.Addressing }),
	conf.Embed(attemptOptions, func(d *Dispatcher) *Attempts { return &d.Attempts }),
	conf.Embed(useOptions, func(d *Dispatcher) *Use { return &d.Use }),
	conf.Table[Dispatcher]{
		conf.Int("max_concurrent", func(d *Dispatcher) *int { return &d.MaxConcurrent }, 1, 100_000, 256),
	},
)

// missingBrace finds a dispatcher in the block of another.
var missingBrace = conf.Table[Dispatcher]{
	conf.Custom("dispatcher", func(*Dispatcher, *caddyfile.Dispenser) error {
		return errors.New("a dispatcher is in the block of another: put the missing } before it")
	}, nil),
}

func readDispatcher(h *Handler, d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return errors.New("dispatcher takes a name and a type, such as: dispatcher push fcm")
	}
	entry := &Dispatcher{Name: d.Val()}
	if !d.NextArg() {
		return fmt.Errorf("dispatcher %s takes a type as well, such as: dispatcher %s fcm", entry.Name, entry.Name)
	}
	h.Dispatchers = append(h.Dispatchers, entry)
	return entry.read(d, entry.checkType)
}

// readNotice reads the option of a dispatcher of notices; example is a type for it.
func readNotice(option, example string, of func(*Handler) **Dispatcher) func(*Handler, *caddyfile.Dispenser) error {
	return func(h *Handler, d *caddyfile.Dispenser) error {
		if !d.NextArg() {
			return fmt.Errorf("%s takes a type of dispatcher, such as: %s %s", option, option, example)
		}
		entry := &Dispatcher{notice: option}
		*of(h) = entry
		return entry.read(d, entry.checkNotice)
	}
}

// read reads a dispatcher whose type the dispenser is at: the options that all
// have, and what is left, which is the type's.
func (d *Dispatcher) read(disp *caddyfile.Dispenser, check func(guest any) error) error {
	rest, lines, err := conf.Join(commonOptions, missingBrace).Take(disp.NewFromNextSegment(), d)
	if err != nil {
		return err
	}
	d.lines = lines
	rest.Next()
	guest, raw, err := conf.ReadGuest(rest, dispatchers.Namespace, "type")
	if err == nil {
		d.guest, d.DispatcherRaw = guest, raw
		err = check(guest)
	}
	if err != nil {
		return d.fault(err)
	}
	return nil
}

// fault adds the dispatcher's name and line to an error.
func (d *Dispatcher) fault(err error) error {
	if d.Name == "" {
		return d.lines.Wrap(fmt.Errorf("%s: %w", d.notice, err))
	}
	return d.lines.Wrap(fmt.Errorf("dispatcher %q: %w", d.Name, err))
}

var validName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// checkType refuses common options that have no meaning for the type.
func (d *Dispatcher) checkType(guest any) error {
	if !validName.MatchString(d.Name) {
		return errors.New("a name has 1 to 64 letters, digits, dots, underscores or hyphens")
	}
	for i, op := range d.Operations {
		if slices.Contains(d.Operations[:i], op) {
			return conf.Errorf("operations", "operations: %s is named twice; remove one", op)
		}
	}
	switch g := guest.(type) {
	case dispatchers.Composite:
		const why = "they belong to the dispatchers that it uses"
		return cmp.Or(
			refuse(d.lines, d.Addressing, addressingOptions, why), refuse(d.lines, d.Attempts, attemptOptions, why),
			d.checkEncryptionOfMembers(),
		)
	case dispatchers.Dispatcher:
		if base, option := d.shortLinks(); base != "" && g.Traits().PayloadOnly {
			return conf.Errorf(option, "%s: this type of dispatcher sends no links: remove it", option)
		}
		return nil
	default:
		return fmt.Errorf("the module %T does not implement dispatchers.Dispatcher", guest)
	}
}

func (d *Dispatcher) checkEncryptionOfMembers() error {
	if d.Encryption == "" || d.Encryption == delivery.Required {
		return nil
	}
	return d.lines.Wrap(conf.Errorf("encryption", "encryption here can only be required; anything else belongs to the dispatchers that it uses"))
}

// checkNotice refuses what has no meaning in a notice, to the relying party or to a
// user.
func (d *Dispatcher) checkNotice(guest any) error {
	const why = "a notice is not a message to a device: remove them"
	g, ok := guest.(dispatchers.Dispatcher)
	rest, options := d.Addressing, addressingOptions
	switch {
	case d.notice == delivery.OnKeyChange:
		if !ok || !g.Traits().Notices {
			return errors.New("it takes a dispatcher that can carry a notice: smtp or webhook")
		}
		if err := d.checkNoticeAddress(g.Traits()); err != nil {
			return err
		}
		rest.Address = "" // which it needs
		options = slices.DeleteFunc(slices.Clone(options), func(o conf.Option[Addressing]) bool { return o.Name == "address" })
	case !ok || !g.Traits().AddressOptional:
		return errors.New("it takes a dispatcher that needs no address of a device, such as webhook")
	}
	return cmp.Or(refuse(d.lines, rest, options, why), refuse(d.lines, d.Use, useOptions, why))
}

// checkNoticeAddress refuses the address of the target that changed.
func (d *Dispatcher) checkNoticeAddress(traits dispatchers.Traits) error {
	switch {
	case slices.Contains(d.Address.Placeholders(), "oob.target"):
		return conf.Errorf("address", "address: {oob.target} is the target that changed, which must not be told of it; write {oob.user.email} or the like")
	case d.Address == "" && !traits.AddressOptional:
		return errors.New("it needs an address, such as: address {oob.user.email}")
	}
	return nil
}

// refuse fails where an option of a group is set.
func refuse[G any](lines conf.Lines, group G, options conf.Table[G], why string) error {
	if reflect.ValueOf(group).IsZero() {
		return nil
	}
	return options.Misplaced(lines, why)
}

// preview is the channel as far as it is known from a Caddyfile.
func (d *Dispatcher) preview() *delivery.Channel {
	c := &delivery.Channel{Name: d.Name, Encryption: d.Encryption}
	switch g := d.guest.(type) {
	case dispatchers.Composite:
		c.Composite = g
	case dispatchers.Dispatcher:
		c.Encryption = d.encryption(g.Traits())
	}
	return c
}

// encryption returns the policy, or its default.
func (d *Dispatcher) encryption(traits dispatchers.Traits) delivery.Policy {
	switch {
	case d.Encryption != "":
		return d.Encryption
	case traits.AnswersCaller:
		return delivery.Preferred
	}
	return delivery.Required
}

package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Dispatcher is one configured dispatcher: a guest module with the name that
// callers use and the options that all dispatchers have.
type Dispatcher struct {
	// The value of `dispatcher` in requests that means this one: letters,
	// digits, `.`, `_` and `-`. It may be the name of one of nevisFIDO's own
	// dispatchers, which it then replaces.
	Name string `json:"name,omitempty"`

	// The channel.
	DispatcherRaw json.RawMessage `json:"dispatcher" caddy:"namespace=oob.dispatchers inline_key=type"`

	// `required` never sends a message in clear: no key means no dispatch.
	// `preferred` sends it in clear only where the target has no key. `off`
	// sends it as nevisFIDO gives it. Default: `preferred` for `qr_code` and
	// `link`, `required` for all others
	Encryption delivery.Policy `json:"encryption,omitempty"`

	// Where the message goes, a template with placeholders such as
	// `{oob.user.email}`. Default: the address of the target, if it was
	// registered for this kind of dispatcher
	Address dispatchers.Template `json:"address,omitempty"`

	// The URL that opens the app, to which the message is appended as the
	// parameter `dispatchTokenResponse`. Placeholders are resolved at load.
	// Default: that of nevisFIDO's own link
	BaseURL string `json:"base_url,omitempty"`

	// Replaces links, which are long, by short ones: the public https URL of
	// a path on this site that is the dispatcher's to use, such as
	// `https://fido.example.com/oob`. The encrypted message waits in the
	// store until the token expires. The short link leads to a page with a
	// button, which opens the app once. Messages in clear keep their long
	// links. Placeholders are resolved at load. Default: none
	Handle string `json:"handle,omitempty"`

	// The time for one attempt. Default: 5s
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// The number of further attempts after a temporary failure, 0 to 10.
	// Default: 2
	Retries *int `json:"retries,omitempty"`

	// The operations that it serves. Default: all
	Operations []nevisfido.Operation `json:"operations,omitempty"`

	// How often this dispatcher may be used, in addition to the limits that
	// hold for all.
	Limits []Limit `json:"limits,omitempty"`

	// Drops the limits that this kind of dispatcher has of its own.
	LimitsOff bool `json:"limits_off,omitempty"`

	// How many exchanges may deliver through it at the same time; more are
	// refused. Default: 256
	MaxConcurrent int `json:"max_concurrent,omitempty"`

	lines   lines // in the Caddyfile that it comes from, if any
	written any   // the guest as it stands there, if it can be asked without being provisioned
}

const (
	defaultTimeout       = 5 * time.Second
	defaultRetries       = 2
	maxRetries           = 10
	defaultMaxConcurrent = 256
	maxMaxConcurrent     = 100_000
)

var validName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// loadDispatchers loads them all. knowsUsers tells whether a key source does.
func (h *Handler) loadDispatchers(ctx caddy.Context, knowsUsers bool) (map[string]*delivery.Channel, error) {
	channels := make(map[string]*delivery.Channel, len(h.Dispatchers))
	for _, d := range h.Dispatchers {
		if !validName.MatchString(d.Name) {
			return nil, fmt.Errorf("dispatcher %q: a name has 1 to 64 letters, digits, dots, underscores or hyphens", d.Name)
		}
		if channels[d.Name] != nil {
			return nil, fmt.Errorf("dispatcher %q is configured twice", d.Name)
		}
		if d.asksForUser() && !knowsUsers { // loading forgets the options
			h.logger.Warn("no key source knows users, so that {oob.user.email}, {oob.user.mobile} and {oob.user.address} stay empty: "+
				"configure key_source nevisidm or file, or take the value from the request, such as {http.request.header.X-User-Email}",
				zap.String("dispatcher", d.Name))
		}
		for _, name := range placeholder.Unknown(d.Address.Placeholders()) {
			h.logger.Warn("the option address holds a placeholder that Caddy does not know, so that nothing can be sent; check its spelling",
				zap.String("dispatcher", d.Name), zap.String("placeholder", name))
		}
		h.warnOfHeader(d)
		c, err := d.channel(ctx)
		if err != nil {
			return nil, fmt.Errorf("dispatcher %q: %w", d.Name, err)
		}
		if c.Encryption == delivery.Off {
			h.logger.Warn("this dispatcher sends messages in clear", zap.String("dispatcher", d.Name))
		}
		h.warnOfLifetime(d.Name, d.Operations, c.Traits.MinLifetime)
		channels[d.Name] = c
	}
	return channels, nil
}

// warnOfHeader logs a header that the address comes from. Whether a filter of
// Caddy's logs covers it cannot be seen from here.
func (h *Handler) warnOfHeader(d *Dispatcher) {
	for _, name := range d.Address.Placeholders() {
		header, found := strings.CutPrefix(name, "http.request.header.")
		if !found {
			continue
		}
		switch header = http.CanonicalHeaderKey(header); header {
		case "Authorization", "Cookie", "Proxy-Authorization": // which Caddy masks by itself
			continue
		}
		h.logger.Warn("the address comes from a header, which Caddy's logs show: delete it in the filter of each log, as Caddyfile.example does",
			zap.String("dispatcher", d.Name), zap.String("header", header), zap.String("filter", "request>headers>"+header+" delete"))
		return
	}
}

// asksForUser reports whether an option, of the guest or of all dispatchers,
// holds a placeholder whose value a key source has to know.
func (d *Dispatcher) asksForUser() bool {
	const prefix = "oob.user."
	return d.Address.Uses(prefix) || bytes.Contains(d.DispatcherRaw, []byte("{"+prefix))
}

// channel loads the guest and puts it behind the common options.
func (d *Dispatcher) channel(ctx caddy.Context) (*delivery.Channel, error) {
	if d.DispatcherRaw == nil {
		return nil, errors.New("it has no dispatcher module; name its type")
	}
	guest, err := ctx.WithValue(dispatchers.NameKey{}, d.Name).LoadModule(d, "DispatcherRaw")
	if err != nil {
		return nil, err
	}
	c := &delivery.Channel{
		Name:       d.Name,
		Type:       guest.(caddy.Module).CaddyModule().ID.Name(),
		Encryption: d.Encryption,
		Address:    d.Address,
		Timeout:    time.Duration(d.Timeout),
		Retries:    defaultRetries,
		Operations: d.Operations,
	}
	switch g := guest.(type) {
	case dispatchers.Composite:
		c.Composite = g
		err = d.checkComposite()
	case dispatchers.Dispatcher:
		c.Dispatcher, c.Traits = g, g.Traits()
		err = d.complete(c)
	default:
		err = fmt.Errorf("the module %T is no dispatchers.Dispatcher", guest)
	}
	if err != nil {
		return nil, err
	}
	if c.Limits, err = d.limits(c.Traits.Limits); err != nil {
		return nil, err
	}
	if d.MaxConcurrent < 0 || d.MaxConcurrent > maxMaxConcurrent {
		return nil, fmt.Errorf("max_concurrent has to be between 1 and %d", maxMaxConcurrent)
	}
	if d.MaxConcurrent == 0 {
		d.MaxConcurrent = defaultMaxConcurrent
	}
	c.Slots = make(chan struct{}, d.MaxConcurrent)
	for _, op := range d.Operations {
		if !op.Valid() {
			return nil, fmt.Errorf("operations: there is no operation %q; name registration, authentication or deregistration", op)
		}
	}
	return c, nil
}

// complete sets the options of a dispatcher that sends by itself.
func (d *Dispatcher) complete(c *delivery.Channel) error {
	switch c.Encryption = d.encryption(c.Traits); c.Encryption {
	case delivery.Required, delivery.Preferred, delivery.Off:
	default:
		return fmt.Errorf("encryption %q: it is required, preferred or off", c.Encryption)
	}
	if err := d.Address.Check(); err != nil {
		return fmt.Errorf("address: %w", err)
	}
	if d.BaseURL != "" {
		base, err := placeholder.Resolve("base_url", d.BaseURL)
		if err != nil {
			return err
		}
		if err := nevisfido.ValidBaseURL(base); err != nil {
			return fmt.Errorf("base_url: %w", err)
		}
		c.BaseURL = base
	}
	if err := d.completeHandle(c); err != nil {
		return err
	}
	if c.Timeout < 0 {
		return errors.New("timeout has to be longer than zero")
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if d.Retries != nil {
		c.Retries = *d.Retries
	}
	if c.Retries < 0 || c.Retries > maxRetries {
		return fmt.Errorf("retries has to be between 0 and %d", maxRetries)
	}
	return nil
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

// ofMembers are the options that stand with the members of a composite.
var ofMembers = []string{"address", "base_url", "handle", "timeout", "retries"}

// checkComposite refuses options that have to stand with the members.
func (d *Dispatcher) checkComposite() error {
	if d.Address != "" || d.BaseURL != "" || d.Handle != "" || d.Timeout != 0 || d.Retries != nil {
		return d.lines.errorAt(errors.New("address, base_url, handle, timeout and retries belong to the dispatchers that it uses"), ofMembers...)
	}
	if d.Encryption != "" && d.Encryption != delivery.Required {
		return d.lines.errorAt(errors.New("encryption here can only be required; anything else belongs to the dispatchers that it uses"), "encryption")
	}
	return nil
}

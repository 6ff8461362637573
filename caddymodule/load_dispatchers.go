package caddymodule

import (
	"bytes"
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// loadDispatchers loads them all. knowsUsers tells whether a key source does.
func (h *Handler) loadDispatchers(ctx caddy.Context, knowsUsers bool) (map[string]*delivery.Channel, error) {
	channels := make(map[string]*delivery.Channel, len(h.Dispatchers))
	for _, d := range h.Dispatchers {
		log := h.logger.With(slog.String("dispatcher", d.Name))
		d.warnOfOptions(log, knowsUsers)
		c, err := d.load(ctx, d.checkType)
		if err != nil {
			return nil, d.fault(err)
		}
		h.warnOfChannel(log, c)
		h.credentials.hold(d.Name, c.Dispatcher)
		channels[d.Name] = c
	}
	return channels, nil
}

// loadNotice loads a dispatcher of notices; nil where there is none.
func (h *Handler) loadNotice(ctx caddy.Context, option string, d *Dispatcher, knowsUsers bool) (*delivery.Channel, error) {
	if d == nil {
		return nil, nil
	}
	d.notice = option // which only a Caddyfile has told yet
	d.warnOfOptions(h.logger.With(slog.String("dispatcher", option)), knowsUsers)
	c, err := d.load(ctx, d.checkNotice)
	if err != nil {
		return nil, d.fault(err)
	}
	c.Name = option
	h.credentials.hold(c.Name, c.Dispatcher)
	return c, nil
}

// load loads the guest and puts it behind the common options.
func (d *Dispatcher) load(ctx caddy.Context, check func(guest any) error) (*delivery.Channel, error) {
	if d.DispatcherRaw == nil {
		return nil, errors.New("it has no dispatcher module; name its type")
	}
	guest, err := ctx.WithValue(dispatchers.NameKey{}, cmp.Or(d.Name, d.notice)).LoadModule(d, "DispatcherRaw")
	if err != nil {
		return nil, err
	}
	if err := check(guest); err != nil {
		return nil, err
	}
	if err := commonOptions.Provision(d, ctx.Slogger()); err != nil {
		return nil, err
	}
	base, _ := d.shortLinks()
	c := &delivery.Channel{
		Name: d.Name, Type: guest.(caddy.Module).CaddyModule().ID.Name(),
		Encryption: d.Encryption, Address: d.Address, BaseURL: d.BaseURL, ShortLinks: strings.TrimSuffix(base, "/"),
		Timeout: time.Duration(d.Timeout), Retries: *d.Retries,
		Operations: d.Operations, Slots: make(chan struct{}, d.MaxConcurrent),
	}
	switch g := guest.(type) {
	case dispatchers.Composite:
		c.Composite = g
	case dispatchers.Dispatcher:
		c.Dispatcher, c.Traits = g, g.Traits()
		c.Encryption = d.encryption(c.Traits)
	}
	c.Limits = effectiveLimits(d.Limits, d.LimitsOff, c.Traits.Limits)
	return c, nil
}

// warnOfOptions logs options that are valid and hardly meant.
func (d *Dispatcher) warnOfOptions(log *slog.Logger, knowsUsers bool) {
	const user = "oob.user."
	if !knowsUsers && (d.Address.Uses(user) || bytes.Contains(d.DispatcherRaw, []byte("{"+user))) {
		log.Warn("no key source knows users, so that {oob.user.email}, {oob.user.mobile} and {oob.user.address} stay empty: " +
			"configure key_source nevisidm or file, or take the value from the request, such as {http.request.header.X-User-Email}")
	}
	for _, name := range unknownPlaceholders(d.Address.Placeholders()) {
		log.Warn("the option address holds a placeholder that Caddy does not know, so that nothing can be sent; check its spelling",
			slog.String("placeholder", name))
	}
	for _, name := range unknownPlaceholders(dispatchers.Template(d.DispatcherRaw).Placeholders()) {
		log.Warn("an option holds a placeholder that Caddy does not know, and that stays in the text as it is; check its spelling",
			slog.String("placeholder", name))
	}
	d.warnOfHeader(log)
	if d.Handle != "" {
		log.Warn("the option handle is called short_links now; the old name still works")
	}
}

// warnOfHeader logs a header that the address comes from. Whether a filter of
// Caddy's logs covers it cannot be seen from here.
func (d *Dispatcher) warnOfHeader(log *slog.Logger) {
	for _, name := range d.Address.Placeholders() {
		header, found := strings.CutPrefix(name, "http.request.header.")
		if !found {
			continue
		}
		switch header = http.CanonicalHeaderKey(header); header {
		case "Authorization", "Cookie", "Proxy-Authorization": // which Caddy masks by itself
			continue
		}
		log.Warn("the address comes from a header, which Caddy's logs show: delete it in the filter of each log, as Caddyfile.example does",
			slog.String("header", header), slog.String("filter", "request>headers>"+header+" delete"))
		return
	}
}

// warnOfChannel logs a dispatcher that cannot do what it is there for, or sends
// messages in clear.
func (h *Handler) warnOfChannel(log *slog.Logger, c *delivery.Channel) {
	if c.Encryption == delivery.Off {
		log.Warn("this dispatcher sends messages in clear")
	}
	if deadline := time.Duration(h.Deadline); c.Timeout > deadline {
		log.Warn("timeout is longer than deadline, which ends each attempt before: lower it, or raise deadline",
			slog.Duration("timeout", c.Timeout), slog.Duration("deadline", deadline))
	}
	if t := c.Traits; c.Composite == nil && c.Address == "" && t.BuiltIn == "" && !t.AnswersCaller && !t.AddressOptional {
		log.Warn("this dispatcher has an address only for targets that were registered or imported for it by name, and nevisFIDO's SDKs register none such: " +
			"set the option address, such as address {oob.user.email}")
	}
	operations := c.Operations
	if len(operations) == 0 {
		operations = nevisfido.Operations()
	}
	lifetimes, longest := h.lifetimes(), time.Duration(0)
	for _, op := range operations {
		longest = max(longest, lifetimes[op])
	}
	if needs := c.Traits.MinLifetime; needs > 0 && longest <= needs { // some of it is over when the message is sent
		log.Warn("no token lives as long as this dispatcher needs, so that it refuses every message: "+
			"raise token_lifetime here and at nevisFIDO, or lower min_lifetime",
			slog.Duration("needs", needs), slog.Duration("longest", longest))
	}
}

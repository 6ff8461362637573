package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// lines are the places of options in a Caddyfile, for errors that are found
// when more of it was read; "" is that of the whole block. What came from JSON
// has none.
type lines map[string]*caddyfile.Dispenser

// here returns the place that the dispenser is at.
func here(d *caddyfile.Dispenser) *caddyfile.Dispenser {
	at := caddyfile.NewDispenser([]caddyfile.Token{d.Token()})
	at.Next()
	return at
}

// errorAt names the line of the first of these options that is there, or else
// that of the block.
func (l lines) errorAt(err error, options ...string) error {
	for _, option := range append(options, "") {
		if at, ok := l[option]; ok {
			return at.WrapErr(err)
		}
	}
	return err
}

// checkGuest has a guest that can check its options do so, on a copy: what it
// sets must not show in the configuration. It returns the copy, nil if the
// guest cannot.
func checkGuest(guest any, id string) (any, error) {
	if _, ok := guest.(dispatchers.OptionChecker); !ok {
		return guest, nil
	}
	info, err := caddy.GetModule(id)
	if err != nil {
		return nil, err
	}
	fresh := info.New()
	text, err := json.Marshal(guest)
	if err != nil {
		return nil, fmt.Errorf("encoding the options: %w", err)
	}
	if err := json.Unmarshal(text, fresh); err != nil {
		return nil, fmt.Errorf("decoding the options: %w", err)
	}
	return fresh, fresh.(dispatchers.OptionChecker).CheckOptions()
}

func checkBaseURL(text string) error {
	return placeholder.Check("base_url", text, nevisfido.ValidBaseURL)
}

// checkWritten finds common options that do not go with the type.
func (d *Dispatcher) checkWritten() error {
	switch g := d.written.(type) {
	case dispatchers.Composite:
		return d.checkComposite()
	case dispatchers.Dispatcher:
		if d.Handle != "" && g.Traits().PayloadOnly {
			return d.lines.errorAt(fmt.Errorf("dispatcher %q: %w", d.Name, errNoLinks), "handle")
		}
	}
	return nil
}

// checkWritten finds what does not go together in the block.
func (h *Handler) checkWritten() error {
	for _, d := range h.Dispatchers {
		if d.Handle == "" {
			continue
		}
		err := httpclient.CheckURL("handle", d.Handle, func(u *url.URL) error { return h.besideBasePath(u) })
		if err == nil {
			err = h.checkLifetimes()
		}
		if err != nil {
			return d.lines.errorAt(fmt.Errorf("dispatcher %q: %w", d.Name, err), "handle")
		}
	}
	return h.checkMembers()
}

// checkMembers finds composites that cannot work with the other dispatchers.
func (h *Handler) checkMembers() error {
	channels := make(map[string]*delivery.Channel, len(h.Dispatchers))
	for _, d := range h.Dispatchers {
		c := &delivery.Channel{Name: d.Name, Encryption: d.Encryption}
		switch g := d.written.(type) {
		case dispatchers.Composite:
			c.Composite = g
		case dispatchers.Dispatcher:
			c.Encryption = d.encryption(g.Traits())
		}
		channels[d.Name] = c
	}
	err := delivery.CheckComposites(channels)
	if err == nil {
		return nil
	}
	fault, ok := errors.AsType[*delivery.CompositeError](err)
	for _, d := range h.Dispatchers {
		if ok && d.Name == fault.Dispatcher {
			return d.lines.errorAt(err)
		}
	}
	return err
}

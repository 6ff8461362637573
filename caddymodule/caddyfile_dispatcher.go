package caddymodule

import (
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

func (h *Handler) dispatcherOption(d *caddyfile.Dispenser) error {
	entry := &Dispatcher{lines: lines{"": here(d)}}
	if !d.NextArg() {
		return d.Err("dispatcher takes a name and a type, such as: dispatcher push fcm")
	}
	entry.Name = d.Val()
	if !validName.MatchString(entry.Name) {
		return d.Errf("dispatcher %q: a name has 1 to 64 letters, digits, dots, underscores or hyphens", entry.Name)
	}
	for _, other := range h.Dispatchers {
		if other.Name == entry.Name {
			return d.Errf("dispatcher %q is configured twice: give each a name of its own", entry.Name)
		}
	}
	if !d.NextArg() {
		return d.Errf("dispatcher %s takes a type as well, such as: dispatcher %s fcm", entry.Name, entry.Name)
	}
	if err := entry.readGuest(d, fmt.Sprintf("dispatcher %q", entry.Name)); err != nil {
		return err
	}
	if err := entry.checkWritten(); err != nil {
		return err
	}
	h.Dispatchers = append(h.Dispatchers, entry)
	return nil
}

// readGuest reads the options of all dispatchers and those of the type, which
// the dispenser is at. What is the name of it all in errors.
func (e *Dispatcher) readGuest(d *caddyfile.Dispenser, what string) error {
	kind := d.Val()
	rest, err := e.takeCommon(d.NewFromNextSegment())
	if err != nil {
		return err
	}
	rest.Next()
	guest, err := unmarshalGuest(rest, dispatchers.Namespace, kind)
	if err != nil {
		return err
	}
	if e.written, err = checkGuest(guest, dispatchers.Namespace+"."+kind); err != nil {
		return e.lines.errorAt(fmt.Errorf("%s: %w", what, err))
	}
	e.DispatcherRaw = caddyconfig.JSONModuleObject(guest, "type", kind, nil)
	return nil
}

// takeCommon reads the options that all dispatchers have and returns the
// other tokens, which are the guest's: its type, arguments and options.
func (e *Dispatcher) takeCommon(d *caddyfile.Dispenser) (*caddyfile.Dispenser, error) {
	d.Next() // type
	guest := []caddyfile.Token{d.Token()}
	for d.NextArg() {
		guest = append(guest, d.Token())
	}
	var open caddyfile.Token
	var options []caddyfile.Token
	seen := make(once)
	for d.NextBlock(0) {
		if open.Text == "" {
			d.Prev()
			open = d.Token() // the brace itself: it knows of imports
			d.Next()
		}
		common, err := e.commonOption(d, seen)
		if err != nil {
			return nil, err
		}
		if !common {
			options = append(options, d.NextSegment()...)
		}
	}
	if len(options) > 0 {
		guest = append(append(guest, open), options...)
		guest = append(guest, d.Token()) // the closing brace
	}
	return caddyfile.NewDispenser(guest), nil
}

func (e *Dispatcher) commonOption(d *caddyfile.Dispenser, seen once) (common bool, err error) {
	word := d.Val()
	if word == "limit" {
		e.lines[word] = here(d)
		return true, limitOption(d, &e.Limits, &e.LimitsOff)
	}
	read := map[string]func() error{
		"encryption":     func() error { return e.encryptionOption(d) },
		"address":        func() error { return templateOption(d, &e.Address) },
		"base_url":       func() error { return checkedOption(d, &e.BaseURL, checkBaseURL) },
		"handle":         func() error { return checkedOption(d, &e.Handle, checkHandle) },
		"timeout":        func() error { return durationOption(d, &e.Timeout) },
		"retries":        func() error { e.Retries = new(int); return numberOption(d, e.Retries, 0, maxRetries) },
		"operations":     func() error { return e.operationsOption(d) },
		"max_concurrent": func() error { return numberOption(d, &e.MaxConcurrent, 1, maxMaxConcurrent) },
	}[word]
	if read == nil {
		return false, nil
	}
	if err := seen.mark(d, word); err != nil {
		return true, err
	}
	e.lines[word] = here(d)
	return true, read()
}

func (e *Dispatcher) encryptionOption(d *caddyfile.Dispenser) error {
	var policy string
	if err := textOption(d, &policy); err != nil {
		return err
	}
	switch policy {
	case "required", "preferred", "off":
		e.Encryption = delivery.Policy(policy)
		return nil
	}
	return d.Errf("encryption %q: it is required, preferred or off", policy)
}

func (e *Dispatcher) operationsOption(d *caddyfile.Dispenser) error {
	for _, name := range d.RemainingArgs() {
		op := nevisfido.Operation(name)
		if !op.Valid() {
			return d.Errf("operations: there is no operation %q: name registration, authentication or deregistration", name)
		}
		if slices.Contains(e.Operations, op) {
			return d.Errf("operations: %s is named twice", op)
		}
		e.Operations = append(e.Operations, op)
	}
	if len(e.Operations) == 0 {
		return d.Err("operations takes registration, authentication or deregistration, one or more of them")
	}
	return nil
}

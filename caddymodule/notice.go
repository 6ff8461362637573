package caddymodule

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
)

const onExpired = "on_expired"

// loadOnExpired loads the dispatcher that tells of expired targets; nil where
// there is none.
func (h *Handler) loadOnExpired(ctx caddy.Context) (*delivery.Channel, error) {
	if h.OnExpired == nil {
		return nil, nil
	}
	d := h.OnExpired
	d.Name = onExpired
	if err := d.checkNotice(); err != nil {
		return nil, err
	}
	c, err := d.channel(ctx)
	if err != nil {
		return nil, fmt.Errorf("on_expired: %w", err)
	}
	if c.Dispatcher == nil || !c.Traits.AddressOptional {
		return nil, errNoticeType
	}
	return c, nil
}

var errNoticeType = errors.New("on_expired takes a dispatcher that needs no address of a device, such as webhook")

// checkNotice refuses what has no meaning in a notice.
func (d *Dispatcher) checkNotice() error {
	if d.Encryption != "" || d.Address != "" || d.BaseURL != "" || d.Handle != "" || d.Operations != nil || d.Limits != nil || d.LimitsOff {
		return d.lines.errorAt(errors.New("on_expired sends no message to a device: of the options of dispatchers it takes timeout, retries and max_concurrent"),
			"encryption", "address", "base_url", "handle", "operations", "limit")
	}
	return nil
}

func (h *Handler) onExpiredOption(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("on_expired takes a type of dispatcher, such as: on_expired webhook")
	}
	entry := &Dispatcher{lines: lines{"": here(d)}}
	if err := entry.readGuest(d, onExpired); err != nil {
		return err
	}
	if err := entry.checkNotice(); err != nil {
		return err
	}
	if entry.written != nil {
		if g, ok := entry.written.(dispatchers.Dispatcher); !ok || !g.Traits().AddressOptional {
			return entry.lines.errorAt(errNoticeType)
		}
	}
	h.OnExpired = entry
	return nil
}

package caddymodule

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/exchange"
)

const onExpired = "on_expired"

// loadOnExpired loads the dispatcher that tells of expired targets; nil where
// there is none.
func (h *Handler) loadOnExpired(ctx caddy.Context) (*exchange.Channel, error) {
	if h.OnExpired == nil {
		return nil, nil
	}
	d := h.OnExpired
	d.Name = onExpired
	if d.Encryption != "" || d.Address != "" || d.BaseURL != "" || d.Handle != "" || d.Operations != nil || d.Limits != nil || d.LimitsOff {
		return nil, errors.New("on_expired sends no message to a device: of the options of dispatchers it takes timeout, retries and max_concurrent")
	}
	c, err := d.channel(ctx)
	if err != nil {
		return nil, fmt.Errorf("on_expired: %w", err)
	}
	if c.Dispatcher == nil || !c.Traits.AddressOptional {
		return nil, errors.New("on_expired takes a dispatcher that needs no address of a device, such as webhook")
	}
	return c, nil
}

func (h *Handler) onExpiredOption(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("on_expired takes a type of dispatcher, such as: on_expired webhook")
	}
	kind := d.Val()
	entry := new(Dispatcher)
	rest, err := entry.takeCommon(d.NewFromNextSegment())
	if err != nil {
		return err
	}
	rest.Next()
	guest, err := unmarshalGuest(rest, dispatchers.Namespace, kind)
	if err != nil {
		return err
	}
	entry.DispatcherRaw = caddyconfig.JSONModuleObject(guest, "type", kind, nil)
	h.OnExpired = entry
	return nil
}

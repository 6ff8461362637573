package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/limiter"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// Limit allows a number of dispatches in any window of a given length.
type Limit struct {
	// Whose dispatches are counted: `target`, `user` (the name in
	// `getUafRequest.context`, which the caller supplies) or `client` (its
	// IP address, as Caddy's `trusted_proxies` tell it).
	Scope dispatchers.Scope `json:"scope"`

	// How many are allowed, 1 to 10000.
	N int `json:"n"`

	// The length of the window.
	Window caddy.Duration `json:"window"`
}

// limitOption is the option limit of a module with these two fields.
func limitOption[M any](fields func(*M) (limits *[]Limit, off *bool)) conf.Option[M] {
	return conf.Repeated("limit",
		func(m *M, d *caddyfile.Dispenser) error {
			limits, off := fields(m)
			return readLimit(d, limits, off)
		},
		func(m *M) error {
			limits, off := fields(m)
			return checkLimits(*limits, *off)
		})
}

func readLimit(d *caddyfile.Dispenser, limits *[]Limit, off *bool) error {
	const form = "limit takes target, user or client, a number and a window, such as: limit target 5 5m; or the word off"
	args := d.RemainingArgs()
	if len(args) == 1 && args[0] == "off" {
		if *off {
			return errors.New("limit off is given twice; remove one")
		}
		*off = true
		return nil
	}
	if len(args) != 3 {
		return errors.New(form)
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("limit: %q is not a number: %s", args[1], form)
	}
	window, err := conf.ParseDuration("limit", args[2])
	if err != nil {
		return err
	}
	*limits = append(*limits, Limit{Scope: dispatchers.Scope(args[0]), N: n, Window: window})
	return nil
}

func checkLimits(limits []Limit, off bool) error {
	if off && len(limits) > 0 {
		return errors.New("limit off excludes other limits: remove one of them")
	}
	for i, l := range limits {
		switch {
		case !slices.Contains([]dispatchers.Scope{dispatchers.PerTarget, dispatchers.PerUser, dispatchers.PerClient}, l.Scope):
			return fmt.Errorf("limit %q: it counts per target, user or client", l.Scope)
		case l.N < 1 || l.N > limiter.MaxLimit:
			return fmt.Errorf("limit %s: the number must be between 1 and %d", l.Scope, limiter.MaxLimit)
		case l.Window <= 0:
			return fmt.Errorf("limit %s: the window must be longer than zero", l.Scope)
		case slices.Contains(limits[:i], l):
			return fmt.Errorf("limit %s %d %s is given twice; remove one", l.Scope, l.N, time.Duration(l.Window))
		}
	}
	return nil
}

// effectiveLimits returns the configured limits, or the defaults where none are.
func effectiveLimits(configured []Limit, off bool, defaults []dispatchers.Limit) []dispatchers.Limit {
	if !off && len(configured) == 0 {
		return defaults
	}
	var all []dispatchers.Limit
	for _, l := range configured {
		all = append(all, dispatchers.Limit{Scope: l.Scope, N: l.N, Window: time.Duration(l.Window)})
	}
	return all
}

// limits returns the limits over all dispatchers.
func (h *Handler) limits() []dispatchers.Limit {
	if h.LimitsOff {
		h.logger.Warn("dispatches are not limited")
	}
	return effectiveLimits(h.Limits, h.LimitsOff, []dispatchers.Limit{
		{Scope: dispatchers.PerTarget, N: 5, Window: 5 * time.Minute},
		{Scope: dispatchers.PerTarget, N: 15, Window: time.Hour},
	})
}

// limiters outlive a reload, so that it does not forget what was counted.
var limiters = caddy.NewUsagePool()

type sharedLimiter struct{ *limiter.Memory }

// Destruct implements caddy.Destructor.
func (sharedLimiter) Destruct() error { return nil }

// limiter counts in the store where that is shared with other instances, and
// in this process otherwise.
func (h *Handler) limiter(store *kv.Store) (targets.Counter, error) {
	if counter := store.Counter(); counter != nil {
		return counter, nil
	}
	memory, _, err := share(h, limiters, h.Namespace+"|"+h.BasePath, func() (sharedLimiter, error) {
		return sharedLimiter{limiter.New()}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("sharing the limiter: %w", err)
	}
	return memory, nil
}

// clientIP returns the address that Caddy trusts, see its trusted_proxies. Only
// limit client asks for it.
func (h *Handler) clientIP(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	if _, err := netip.ParseAddr(ip); err != nil {
		h.noClient.Do(func() {
			h.logger.Warn("requests come without the IP address of a client, such as through a unix socket, so that limit client does not tell clients apart: " +
				"have the proxy in front send X-Forwarded-For, and set trusted_proxies_unix in the global option servers")
		})
	}
	return ip
}

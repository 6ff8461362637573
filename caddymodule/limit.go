package caddymodule

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/exchange"
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

func (l Limit) check() error {
	switch l.Scope {
	case dispatchers.PerTarget, dispatchers.PerUser, dispatchers.PerClient:
	default:
		return fmt.Errorf("limit %q: it counts per target, user or client", l.Scope)
	}
	if l.N < 1 || l.N > exchange.MaxLimit {
		return fmt.Errorf("limit %s: the number has to be between 1 and %d", l.Scope, exchange.MaxLimit)
	}
	if l.Window <= 0 {
		return fmt.Errorf("limit %s: the window has to be longer than zero", l.Scope)
	}
	return nil
}

// merge returns the configured limits, or the defaults where none are.
func merge(configured []Limit, off bool, defaults []dispatchers.Limit) ([]dispatchers.Limit, error) {
	switch {
	case off && len(configured) > 0:
		return nil, errors.New("limit off stands beside other limits")
	case off:
		return nil, nil
	case len(configured) == 0:
		return defaults, nil
	}
	var all []dispatchers.Limit
	for i, l := range configured {
		if err := l.check(); err != nil {
			return nil, err
		}
		if slices.Contains(configured[:i], l) {
			return nil, fmt.Errorf("limit %s %d %s stands twice", l.Scope, l.N, time.Duration(l.Window))
		}
		all = append(all, dispatchers.Limit{Scope: l.Scope, N: l.N, Window: time.Duration(l.Window)})
	}
	return all, nil
}

func (h *Handler) limits() ([]dispatchers.Limit, error) {
	if h.LimitsOff {
		h.logger.Warn("dispatches are not limited")
	}
	return merge(h.Limits, h.LimitsOff, defaultLimits())
}

func (d *Dispatcher) limits(defaults []dispatchers.Limit) ([]dispatchers.Limit, error) {
	return merge(d.Limits, d.LimitsOff, defaults)
}

// limiters outlive a reload, so that it does not forget what was counted.
var limiters = caddy.NewUsagePool()

type sharedLimiter struct{ *exchange.MemoryLimiter }

// Destruct implements caddy.Destructor.
func (sharedLimiter) Destruct() error { return nil }

// limiter counts in the store where that is shared with other instances, and
// in this process otherwise.
func (h *Handler) limiter(store *kv.Store) (targets.SharedCounter, error) {
	if counter := store.Counter(); counter != nil {
		return counter, nil
	}
	key := h.Namespace + "|" + h.BasePath
	value, _, err := limiters.LoadOrNew(key, func() (caddy.Destructor, error) {
		return sharedLimiter{exchange.NewMemoryLimiter()}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("sharing the limiter: %w", err)
	}
	h.limiterKey = key
	return value.(sharedLimiter), nil
}

func (h *Handler) releaseLimiter() error {
	if h.limiterKey == "" {
		return nil
	}
	_, err := limiters.Delete(h.limiterKey)
	h.limiterKey = ""
	return err
}

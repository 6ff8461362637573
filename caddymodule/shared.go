package caddymodule

import "github.com/caddyserver/caddy/v2"

// share returns what outlives a reload: open makes it for the first handler that
// has the key, and the end of the last one destructs it.
func share[T caddy.Destructor](h *Handler, pool *caddy.UsagePool, key string, open func() (T, error)) (shared T, loaded bool, err error) {
	value, loaded, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) { return open() })
	if err != nil {
		return shared, false, err
	}
	h.release = append(h.release, func() error { _, err := pool.Delete(key); return err })
	return value.(T), loaded, nil
}

package caddymodule

import (
	"log/slog"
	"net/http"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// routeWarnings are told once each: what the handler cannot see of its route
// when it is loaded.
type routeWarnings struct{ twice, repeats, noClient sync.Once }

const handlerVar = "oob_dispatch"

// warnBefore tells of another handler before this one that takes the same calls.
func (h *Handler) warnBefore(r *http.Request) {
	ctx := r.Context()
	if other, ok := caddyhttp.GetVar(ctx, handlerVar).(*Handler); ok && other != h && other.BasePath == h.BasePath {
		h.told.twice.Do(func() {
			h.logger.Warn("two oob_dispatch with the same base_path are in one route, and both act on a call: put all dispatchers into one",
				slog.String("base_path", h.BasePath))
		})
	}
	caddyhttp.SetVar(ctx, handlerVar, h)
}

// warnAfter tells of a proxy that sent a request more than once.
func (h *Handler) warnAfter(r *http.Request) {
	if r.Method != http.MethodPost {
		return
	}
	if retries, found := lookup(r, proxyRetries); found && retries != "" && retries != "0" {
		h.told.repeats.Do(func() {
			h.logger.Warn("the proxy repeats requests, and each dispatch request that is repeated makes another token: " +
				"remove lb_try_duration and lb_retries from reverse_proxy on this route")
		})
	}
}

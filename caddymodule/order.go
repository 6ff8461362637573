package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// warnOfOrder tells of a proxy that answers every request before this handler
// sees it, as a route block with the two in the wrong order has it. It looks at
// the configuration that runs.
func (h *Handler) warnOfOrder(ctx caddy.Context) {
	app, err := ctx.AppIfConfigured("http")
	if err != nil {
		return
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		if _, behind := h.behindProxy(server.Routes, false); behind {
			h.logger.Warn("reverse_proxy stands before oob_dispatch and answers every request, so that no dispatch is taken over: put oob_dispatch before it")
			return
		}
	}
}

// behindProxy walks through routes in their order. It tells whether a proxy
// takes everything by their end, or before the handler, which is behind it then.
func (h *Handler) behindProxy(routes caddyhttp.RouteList, taken bool) (takesAll, behind bool) {
	for _, route := range routes {
		takenHere := taken
		for _, handler := range route.Handlers {
			switch handler := handler.(type) {
			case *Handler:
				if handler == h && takenHere {
					return true, true
				}
			case *reverseproxy.Handler:
				takenHere = takenHere || len(handler.HandleResponse) == 0 // which forward_auth has, and goes on
			case *caddyhttp.Subroute:
				if takenHere, behind = h.behindProxy(handler.Routes, takenHere); behind {
					return true, true
				}
			}
		}
		if len(route.MatcherSetsRaw) == 0 && len(route.MatcherSets) == 0 {
			taken = takenHere
		}
	}
	return taken, false
}

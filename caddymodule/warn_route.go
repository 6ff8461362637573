package caddymodule

import (
	"log/slog"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// warnOfRoute tells of handlers around this one that do not go together with it.
// It looks at the configuration that runs.
func (h *Handler) warnOfRoute(ctx caddy.Context) {
	app, err := ctx.AppIfConfigured("http")
	if err != nil {
		return
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		way := route{of: h}
		way.walk(server.Routes)
		switch {
		case way.proxied && way.found:
			h.logger.Warn("reverse_proxy stands before oob_dispatch and answers every request, so that no dispatch is taken over: put oob_dispatch before it")
		case way.twice:
			h.logger.Warn("two oob_dispatch with the same base_path stand in one route, and both act on a call: put all dispatchers into one",
				slog.String("base_path", h.BasePath))
		case way.repeats:
			h.logger.Warn("the proxy repeats requests, and each dispatch request that is repeated makes another token: " +
				"remove lb_try_duration and lb_retries from reverse_proxy on this route")
		}
	}
}

// A route is what a request comes by in the way of a handler, as far as that
// does not depend on the request.
type route struct {
	of      *Handler
	proxied bool // a proxy takes everything, before the handler where that is found
	found   bool // the handler was come by
	ended   bool // the proxy after it was
	twice   bool // another one before it acts on the same calls
	repeats bool // the proxy after it repeats requests
	before  *Handler
}

// walk goes through routes in their order, up to the proxy after the handler.
func (w *route) walk(routes caddyhttp.RouteList) {
	for _, r := range routes {
		if w.ended {
			return
		}
		here := *w
		for _, handler := range r.Handlers {
			here.pass(handler)
		}
		conditional := len(r.MatcherSets) > 0
		if !conditional || here.found && !w.found {
			*w = here
		}
	}
}

func (w *route) pass(handler caddyhttp.MiddlewareHandler) {
	switch handler := handler.(type) {
	case *Handler:
		if handler == w.of {
			w.found, w.ended, w.twice = true, w.proxied, w.before != nil
		} else if handler.BasePath == w.of.BasePath {
			w.before = handler
		}
	case *reverseproxy.Handler:
		if len(handler.HandleResponse) > 0 { // as forward_auth has, which goes on
			return
		}
		if !w.found {
			w.proxied = true
			return
		}
		lb := handler.LoadBalancing
		w.ended, w.repeats = true, lb != nil && (lb.Retries > 0 || lb.TryDuration > 0)
	case *caddyhttp.Subroute:
		w.walk(handler.Routes)
	}
}

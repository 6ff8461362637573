// Package caddymodule is Caddy's face of the sidecar: the HTTP handler
// http.handlers.oob_dispatch, its Caddyfile and its metrics.
//
// The life of the handler is in handler.go and its options are in options.go.
// What it loads follows: dispatcher.go and load_dispatchers.go, load_targets.go
// (store and key sources), limit.go, shortlinks.go, and observer.go with
// metrics.go, audit.go and hashkey.go. What operators ask of it is in health.go
// and admin.go.
package caddymodule

import (
	"cmp"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/internal/exchange"
	"github.com/oob-dispatch/oob-dispatch/internal/operate"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

func init() {
	caddy.RegisterModule(new(Handler))
	httpcaddyfile.RegisterHandlerDirective("oob_dispatch", parseCaddyfile)
	httpcaddyfile.RegisterDirectiveOrder("oob_dispatch", httpcaddyfile.After, "encode")
}

func parseCaddyfile(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h := new(Handler)
	return h, h.UnmarshalCaddyfile(helper.Dispenser)
}

// CaddyModule returns the Caddy module information. It has a pointer receiver, as
// events ask for it while the handler is provisioned and cleaned up.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.oob_dispatch",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision sets up the handler and its guests. It dials nothing.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger, h.noClient = ctx.Slogger(), new(sync.Once)
	h.health = &health{attempts: make(map[string]lastAttempts)}
	h.credentials = newCredentials(h.logger)
	if err := handlerOptions.Provision(h, h.logger); err != nil {
		return err
	}
	h.SetDefaults()
	store, err := h.LoadStore(ctx)
	if err != nil {
		return err
	}
	h.hash = h.openHashKey(ctx, store)
	observer, err := h.openObserver(ctx)
	if err != nil {
		return err
	}
	config := h.config(observer)
	if config.Shapes, err = h.openShapes(); err != nil {
		return err
	}
	if config.Targets, config.User, err = h.loadTargets(ctx, store, observer); err != nil {
		return err
	}
	if config.Limiter, err = h.limiter(store); err != nil {
		return err
	}
	if config.Channels, err = h.loadDispatchers(ctx, config.User != nil); err != nil {
		return err
	}
	if config.OnExpired, err = h.loadNotice(ctx, delivery.OnExpired, h.OnExpired, config.User != nil); err != nil {
		return err
	}
	if config.OnKeyChange, err = h.loadNotice(ctx, delivery.OnKeyChange, h.OnKeyChange, config.User != nil); err != nil {
		return err
	}
	if config.Links, err = h.loadShortLinks(store); err != nil {
		return err
	}
	config.Noticed = observer.noticed
	if h.exchange, err = exchange.New(config); err != nil {
		return err
	}
	if config.OnKeyChange != nil && !h.Observe {
		observer.keyChanged = h.tellOfKey
	}
	h.serveHealth(ctx.GetMetricsRegistry())
	go config.Targets.Run(ctx)
	go h.whenRunning(ctx, config.Targets)
	return nil
}

// SetDefaults puts in the values of options that are not set, as far as the table
// of options does not.
func (h *Handler) SetDefaults() {
	h.BasePath = cmp.Or(h.BasePath, defaultBasePath)
	h.UpstreamDispatcher = cmp.Or(h.UpstreamDispatcher, nevisfido.BuiltInLink)
	if h.StoreRaw == nil {
		h.StoreRaw = json.RawMessage(`{"type":"caddy"}`)
	}
}

// Name tells the handler from others of the configuration.
func (h *Handler) Name() operate.Name {
	return operate.Name{Namespace: h.Namespace, BasePath: h.BasePath}
}

// config is what the handler's own options say.
func (h *Handler) config(observer exchange.Observer) exchange.Config {
	return exchange.Config{
		BasePath:           h.BasePath,
		UpstreamDispatcher: h.UpstreamDispatcher,
		UpstreamTimeout:    time.Duration(h.UpstreamTimeout),
		MaxBody:            h.MaxBody,
		ObserveOnly:        h.Observe,
		Observer:           observer,
		Config: delivery.Config{
			RedeemURL:         strings.TrimSuffix(h.RedeemURL, "/"),
			Lifetimes:         h.lifetimes(),
			Limits:            h.limits(),
			ClientIP:          h.clientIP,
			Deadline:          time.Duration(h.Deadline),
			VisualCodeDigits:  h.VisualCode,
			VisualCodePicture: h.VisualCodePicture,
			Lookup:            lookup,
			Log:               h.logger,
			Hash:              h.hash,
		},
	}
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	h.keepShortLinkFromLog(r)
	err := h.exchange.ServeHTTP(w, r, asNext(next))
	if status, ok := errors.AsType[*exchange.StatusError](err); ok {
		return caddyhttp.Error(status.Status, status.Err)
	}
	if u, ok := errors.AsType[unsent](err); ok {
		return u.error // Caddy wants its own
	}
	return err
}

// Cleanup gives back what Provision took. What goes on after its request was
// answered is finished before the process exits; a reload does not wait for it.
func (h *Handler) Cleanup() error {
	if h.exchange != nil && caddy.Exiting() {
		h.exchange.Wait()
		if n := h.exchange.Targets.Unsynced.Len(); n > 0 {
			h.logger.Error("the store did not take changes of dispatch targets before the end, and holds old records of them",
				slog.Int("changes", n))
		}
	}
	faults := make([]error, 0, len(h.release))
	for _, release := range h.release {
		faults = append(faults, release())
	}
	h.release = nil
	return errors.Join(faults...)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

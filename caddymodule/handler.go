// Package caddymodule is Caddy's face of the sidecar: the HTTP handler
// http.handlers.oob_dispatch, its Caddyfile and its metrics.
//
// The handler's options stand in options.go, its life in handler.go; what it
// loads and shares follows in dispatcher.go, guests.go, limit.go, shortlinks.go,
// audit.go and metrics.go.
package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/internal/exchange"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

func init() {
	caddy.RegisterModule(Handler{})
	httpcaddyfile.RegisterHandlerDirective("oob_dispatch", parseCaddyfile)
	httpcaddyfile.RegisterDirectiveOrder("oob_dispatch", httpcaddyfile.After, "encode")
}

func parseCaddyfile(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h := new(Handler)
	return h, h.UnmarshalCaddyfile(helper.Dispenser)
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.oob_dispatch",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision sets up the handler and its guests. It dials nothing.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger, h.told = ctx.Slogger(), new(routeWarnings)
	if err := handlerOptions.Provision(h, h.logger); err != nil {
		return err
	}
	h.BasePath = cmp.Or(h.BasePath, defaultBasePath)
	h.UpstreamDispatcher = cmp.Or(h.UpstreamDispatcher, nevisfido.BuiltInLink)
	metrics, err := newMetrics(ctx.GetMetricsRegistry())
	if err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	if err := h.openAudit(ctx.Logger()); err != nil {
		return err
	}
	store, err := h.loadStore(ctx)
	if err != nil {
		return err
	}
	sources, user, err := h.loadSources(ctx)
	if err != nil {
		return err
	}
	config := exchange.Config{
		BasePath:           h.BasePath,
		UpstreamDispatcher: h.UpstreamDispatcher,
		UpstreamTimeout:    time.Duration(h.UpstreamTimeout),
		MaxBody:            h.MaxBody,
		ObserveOnly:        h.Observe,
		Limits:             h.limits(),
		ClientIP:           clientIP,
		Observer:           h.observer(metrics),
		Config: delivery.Config{
			Targets:          h.directory(store, sources, metrics),
			RedeemURL:        strings.TrimSuffix(h.RedeemURL, "/"),
			Lifetimes:        h.lifetimes(),
			Deadline:         time.Duration(h.Deadline),
			VisualCodeDigits: h.VisualCode,
			Lookup:           lookup,
			User:             user,
			Log:              h.logger,
		},
	}
	if config.Limiter, err = h.limiter(store); err != nil {
		return err
	}
	if config.Channels, err = h.loadDispatchers(ctx, user != nil); err != nil {
		return err
	}
	if config.OnExpired, err = h.loadOnExpired(ctx); err != nil {
		return err
	}
	if config.Links, err = h.loadShortLinks(store); err != nil {
		return err
	}
	if h.exchange, err = exchange.New(config); err != nil {
		return err
	}
	go config.Targets.Run(ctx)
	go h.tryStore(ctx, config.Targets)
	return nil
}

// directory puts the rules of learning and forgetting before the store.
func (h *Handler) directory(store *kv.Store, sources []targets.NamedSource, m *metrics) *targets.Directory {
	unsynced := targets.SharedUnsynced(store.Location(), h.Namespace)
	m.watch(unsynced)
	return &targets.Directory{
		Store: store, Sources: sources, Namespace: h.Namespace,
		Unsynced: unsynced,
		Policy:   h.KeyPolicy.encryption(), MaxKeyAge: time.Duration(h.KeyPolicy.MaxKeyAge),
		Events: func(e targets.Event) {
			m.target(e)
			h.trail.target(e)
			h.logTarget(e)
		},
	}
}

func (h *Handler) logTarget(e targets.Event) {
	write := h.logger.Info
	switch e.Name {
	case targets.EventKeyRefused, targets.EventSignatureKeyRefused, targets.EventKeyChanged, targets.EventStale, targets.EventDropped:
		write = h.logger.Warn
	default:
	}
	write("dispatch target", slog.String("event", string(e.Name)), slog.String("target", exchange.TargetHash(e.Ref.ID)),
		slog.String("source", e.Source), slog.String("reason", e.Reason), slog.String("thumbprint", e.Thumbprint))
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	h.keepFromLog(r)
	h.warnBefore(r)
	err := h.exchange.ServeHTTP(w, r, forward(next))
	h.warnAfter(r)
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

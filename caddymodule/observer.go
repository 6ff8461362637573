package caddymodule

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/internal/exchange"
	"github.com/oob-dispatch/oob-dispatch/internal/keyedhash"
	"github.com/oob-dispatch/oob-dispatch/internal/tracing"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// observer is told of exchanges and of changes to targets, and tells the
// metrics, the log, Caddy's events, and the audit trail where there is one.
type observer struct {
	*metrics
	trail       auditTrail // nil for none
	health      *health
	credentials *heldCredentials
	emit        emitter
	hash        *keyedhash.Key
	log         *slog.Logger

	keyChanged func(targets.Event) // tells users; set before there are events
}

func (h *Handler) openObserver(ctx caddy.Context) (*observer, error) {
	m, err := newMetrics(ctx.GetMetricsRegistry())
	if err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	emit, err := h.openEvents(ctx)
	if err != nil {
		return nil, err
	}
	h.credentials.emit = emit
	trail, err := h.openAudit(ctx.Logger())
	return &observer{m, trail, h.health, h.credentials, emit, h.hash, h.logger, func(targets.Event) {}}, err
}

// Exchanged implements exchange.Observer.
func (o *observer) Exchanged(r exchange.Record) {
	if !r.Test { // which would spoil rates and alerts
		o.metrics.Exchanged(r)
	}
	o.health.exchanged(r)
	for _, a := range r.Attempts {
		if a.Made {
			o.credentials.attempted(a)
		}
	}
	o.emit.exchanged(r)
	if o.trail != nil {
		o.trail.exchanged(r)
	}
}

// noticed takes a notice, see delivery.Config.
func (o *observer) noticed(n delivery.Notice) {
	o.metrics.noticed(n)
	for _, a := range n.Attempts {
		o.credentials.attempted(a)
	}
	if o.trail != nil {
		o.trail.noticed(n)
	}
}

// target takes a change of a dispatch target.
func (o *observer) target(ctx context.Context, e targets.Event) {
	o.metrics.target(e)
	target, user := o.hash.Of("target", e.Ref.ID), o.hash.Of("user", e.User)
	if o.trail != nil {
		o.trail.target(e, target, user, tracing.ID(ctx))
	}
	o.emit.target(e, target, user)
	o.keyChanged(e)
	level := slog.LevelInfo
	switch e.Name {
	case targets.EventKeyRefused, targets.EventSignatureKeyRefused, targets.EventKeyChanged, targets.EventStale, targets.EventDropped:
		level = slog.LevelWarn
	default:
	}
	attrs := []any{
		slog.String("event", string(e.Name)), slog.String("target", target),
		slog.String("source", e.Source), slog.String("reason", e.Reason), slog.String("thumbprint", e.Thumbprint),
	}
	if e.Detail != "" {
		attrs = append(attrs, slog.String("detail", e.Detail))
	}
	tracing.Log(ctx, o.log).Log(ctx, level, "dispatch target", attrs...)
}

// Interface guard
var _ exchange.Observer = (*observer)(nil)

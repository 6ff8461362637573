package caddymodule

import (
	"context"
	"log/slog"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/auditfile"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

const (
	startInterval = 50 * time.Millisecond // between looks at whether the configuration runs
	trialTimeout  = 800 * time.Millisecond
	trialPause    = 5 * time.Second // between trials of a store that fails
)

// whenRunning warns of what can be seen as soon as the configuration runs, before
// the first user is lost. One that is only validated must reach for nothing.
func (h *Handler) whenRunning(ctx caddy.Context, directory *targets.Directory) {
	for !running(ctx) {
		if !sleep(ctx, startInterval) {
			return
		}
	}
	collectors().expect(h.exchange.Channels) // not where a configuration is only tried
	go h.credentials.watch(ctx)
	h.warnOfRoute(ctx)
	if h.audit != nil {
		if err := auditfile.Try(h.audit.path); err != nil {
			h.logger.Warn("the audit file cannot be written: dispatches go on, and their lines are lost", slog.Any("error", err))
		}
	}
	h.tryStore(ctx, directory)
}

// tryStore warns of a store that cannot be written, and tells when it can be.
func (h *Handler) tryStore(ctx caddy.Context, directory *targets.Directory) {
	for warned := false; ; warned = true {
		trial, cancel := context.WithTimeout(ctx, trialTimeout)
		err := directory.Writable(trial)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && warned:
			h.logger.Info("the store can be written again")
			return
		case err == nil:
			return
		case !warned:
			h.logger.Warn("the store cannot be written: nobody can enrol or change a device, and dispatches to targets fail", slog.Any("error", err))
		}
		if !sleep(ctx, trialPause) {
			return
		}
	}
}

// running tells whether it is this configuration that runs: each has a registry
// of its own.
func running(ctx caddy.Context) bool {
	active := caddy.ActiveContext()
	return active.GetMetricsRegistry() == ctx.GetMetricsRegistry()
}

// sleep reports whether the context lived as long.
func sleep(ctx context.Context, pause time.Duration) bool {
	select {
	case <-time.After(pause):
		return true
	case <-ctx.Done():
		return false
	}
}

package caddymodule

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/internal/reasons"
)

// ofKeySource is before the name of a key source where a dispatcher's name is
// expected. No dispatcher is called so.
const ofKeySource = "key_source:"

// heldCredentials are those of the dispatchers and key sources of one handler.
type heldCredentials struct {
	log     *slog.Logger
	emit    emitter
	holders map[string]dispatchers.CredentialHolder // by the name of the dispatcher; they do not change once the configuration is loaded

	mu      sync.Mutex
	refused map[string]string  // the reason by which a third party refuses those of a dispatcher
	told    map[string]trouble // what is told of each that fails
}

func newCredentials(log *slog.Logger) *heldCredentials {
	return &heldCredentials{
		log: log, emit: nowhere,
		holders: make(map[string]dispatchers.CredentialHolder), refused: make(map[string]string), told: make(map[string]trouble),
	}
}

// trouble is why credentials fail, and since when.
type trouble struct {
	reason string
	since  time.Time
}

// hold follows the credentials of a guest module, if it can have any.
func (c *heldCredentials) hold(name string, guest any) {
	if holder, ok := guest.(dispatchers.CredentialHolder); ok {
		c.holders[name] = holder
	}
}

// credentialState says how the credentials of a dispatcher stand.
type credentialState struct {
	Loaded  bool       `json:"loaded"`            // what the options name now is in use
	Expires *time.Time `json:"expires,omitempty"` // the first of them
	Error   string     `json:"error,omitempty"`
	Since   *time.Time `json:"since,omitempty"` // when the error was first found

	reason string // "" where they are in order
}

// states returns how all credentials stand, by dispatcher. It tells of those that
// have begun to fail, or work again, since it was called last.
func (c *heldCredentials) states() map[string]credentialState {
	all := make(map[string]credentialState)
	for name, holder := range c.holders {
		if loaded := holder.LoadedCredentials(); len(loaded) > 0 { // a file system may take its time
			all[name] = stateOf(loaded, time.Now())
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, reason := range c.refused {
		state, known := all[name]
		if state.reason == "" {
			state.Loaded = state.Loaded || !known
			state.Error, state.reason = "the third party refuses them ("+reason+")", reason
			all[name] = state
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		c.tell(name, all[name])
		if failing, ok := c.told[name]; ok {
			state := all[name]
			state.Since = &failing.since
			all[name] = state
		}
	}
	for name := range c.told {
		if _, known := all[name]; !known { // they were refused, and are not any more
			c.tell(name, credentialState{})
		}
	}
	return all
}

// stateOf sums up the credentials of one dispatcher.
func stateOf(loaded []dispatchers.Credential, now time.Time) credentialState {
	state := credentialState{Loaded: true}
	for _, one := range loaded {
		if !one.Expires.IsZero() && (state.Expires == nil || one.Expires.Before(*state.Expires)) {
			state.Expires = &one.Expires
		}
		switch {
		case state.reason != "":
		case one.Err != nil:
			state.Loaded, state.reason = false, reasons.CredentialsFile
			state.Error = fmt.Sprintf("%s: a changed file cannot be used: %v", one.Option, one.Err)
		case !one.Expires.IsZero() && one.Expires.Before(now):
			state.reason = reasons.CredentialsExpired
			state.Error = fmt.Sprintf("%s: it was valid until %s", one.Option, one.Expires.UTC().Format(time.RFC3339))
		}
	}
	return state
}

// tell logs a change, and emits an event.
func (c *heldCredentials) tell(name string, state credentialState) {
	before := c.told[name]
	if before.reason == state.reason {
		return
	}
	dispatcher := slog.String("dispatcher", name)
	if state.reason == "" {
		delete(c.told, name)
		c.log.Info("the credentials of a dispatcher work again", dispatcher)
		return
	}
	c.told[name] = trouble{state.reason, time.Now().UTC()}
	c.log.Warn("the credentials of a dispatcher fail", dispatcher, slog.String("reason", state.reason), slog.String("error", state.Error))
	c.emit(eventCredentialsFailed, func() map[string]any {
		return map[string]any{"dispatcher": name, "reason": state.reason}
	})
}

// attempted learns from an attempt whether the third party takes the credentials.
// Failures of other kinds do not tell.
func (c *heldCredentials) attempted(a delivery.Attempt) {
	refuses := a.Reason != "" && reasons.RefusesCredentials(a.Reason)
	if a.Reason != "" && !refuses {
		return
	}
	c.mu.Lock()
	before := c.refused[a.Dispatcher]
	if refuses {
		c.refused[a.Dispatcher] = a.Reason
	} else {
		delete(c.refused, a.Dispatcher)
	}
	c.mu.Unlock()
	if before != a.Reason {
		c.states()
	}
}

// credentialsInterval is how often files are looked at that nobody uses.
const credentialsInterval = 30 * time.Second

// watch looks after credentials that nobody asks for.
func (c *heldCredentials) watch(ctx context.Context) {
	for {
		c.states()
		if !sleep(ctx, credentialsInterval) {
			return
		}
	}
}

// credentialGauges are those of all configurations that are loaded.
type credentialGauges struct{}

var (
	credentialsExpiry = prometheus.NewDesc("caddy_oob_credentials_expiry_seconds",
		"Unix time at which credentials of a dispatcher expire, where that is known.", []string{"dispatcher"}, nil)
	credentialsFailed = prometheus.NewDesc("caddy_oob_credentials_failed",
		"Whether credentials of a dispatcher are refused, have expired, or were changed and cannot be used.", []string{"dispatcher"}, nil)
)

// Describe implements prometheus.Collector.
func (credentialGauges) Describe(to chan<- *prometheus.Desc) {
	to <- credentialsExpiry
	to <- credentialsFailed
}

// Collect implements prometheus.Collector. Of dispatchers with the same name the
// worse one counts.
func (credentialGauges) Collect(to chan<- prometheus.Metric) {
	expiry, failed := make(map[string]float64), make(map[string]float64)
	for _, h := range allHandlers() {
		for name := range h.credentials.holders {
			failed[name] = max(failed[name], 0)
		}
		for name, state := range h.credentials.states() {
			if state.reason != "" {
				failed[name] = 1
			}
			if state.Expires == nil {
				continue
			}
			if at, known := expiry[name]; !known || float64(state.Expires.Unix()) < at {
				expiry[name] = float64(state.Expires.Unix())
			}
		}
	}
	for name, at := range expiry {
		to <- prometheus.MustNewConstMetric(credentialsExpiry, prometheus.GaugeValue, at, name)
	}
	for name, is := range failed {
		to <- prometheus.MustNewConstMetric(credentialsFailed, prometheus.GaugeValue, is, name)
	}
}

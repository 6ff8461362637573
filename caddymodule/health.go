package caddymodule

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/oob-dispatch/oob-dispatch/internal/exchange"
)

func init() {
	caddy.RegisterModule(Health{})
	httpcaddyfile.RegisterHandlerDirective("oob_health", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		health := new(Health)
		return health, health.UnmarshalCaddyfile(h.Dispenser)
	})
	httpcaddyfile.RegisterDirectiveOrder("oob_health", httpcaddyfile.Before, "respond")
}

// Health answers whether the `oob_dispatch` of the same configuration can work:
// with 200, or with 503 where a store cannot be written or the server shuts
// down, and with a JSON object of what is known of each part. With `?live` it
// answers 200 as long as the process works. Nothing in it is secret or names a
// target, but it belongs on an internal site.
type Health struct {
	registry *prometheus.Registry // each configuration has one of its own
}

// CaddyModule returns the Caddy module information.
func (Health) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.oob_health",
		New: func() caddy.Module { return new(Health) },
	}
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	oob_health [<matcher>]
func (*Health) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() || d.NextBlock(0) {
		return d.Err("oob_health takes neither values nor a block: leave them out")
	}
	return nil
}

// Provision implements caddy.Provisioner.
func (h *Health) Provision(ctx caddy.Context) error {
	h.registry = ctx.GetMetricsRegistry()
	return nil
}

// report is the answer of Health.
type report struct {
	Ready        bool           `json:"ready"`
	ShuttingDown bool           `json:"shutting_down,omitempty"`
	Dispatch     []handlerState `json:"oob_dispatch"`
}

// handlerState is what is known of one oob_dispatch.
type handlerState struct {
	BasePath    string                  `json:"base_path"`
	Namespace   string                  `json:"namespace,omitempty"`
	Observe     bool                    `json:"observe,omitempty"`
	Store       part                    `json:"store"`
	Audit       *part                   `json:"audit,omitempty"`
	Unsynced    int                     `json:"unsynced_targets"`
	KeySources  map[string]sourceState  `json:"key_sources,omitempty"`
	Dispatchers map[string]lastAttempts `json:"dispatchers"`
}

type sourceState struct {
	Credentials credentialState `json:"credentials"`
}

type part struct {
	Writable bool       `json:"writable"`
	Error    string     `json:"error,omitempty"`
	Since    *time.Time `json:"since,omitempty"` // when Health first found the error
}

// lastAttempts are those of one dispatcher since the configuration was loaded, and
// how its credentials stand.
type lastAttempts struct {
	Success *time.Time `json:"last_success,omitempty"`
	Failure *time.Time `json:"last_failure,omitempty"`
	Reason  string     `json:"reason,omitempty"` // of the failure

	Credentials *credentialState `json:"credentials,omitempty"` // nil where there are none
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Health) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	}
	if r.URL.Query().Has("live") {
		return answerJSON(w, http.StatusOK, struct {
			Live bool `json:"live"`
		}{true})
	}
	down, _ := lookup(r, "http.shutting_down")
	all := report{Ready: true, ShuttingDown: down == "true", Dispatch: []handlerState{}}
	for _, handler := range handlersOf(h.registry) {
		state := handler.state(r.Context())
		all.Dispatch = append(all.Dispatch, state)
		all.Ready = all.Ready && (state.Store.Writable || handler.Observe) // which learns what it can, and lets everything pass
	}
	status := http.StatusOK
	if all.Ready = all.Ready && !all.ShuttingDown && len(all.Dispatch) > 0; !all.Ready {
		status = http.StatusServiceUnavailable
	}
	return answerJSON(w, status, all)
}

// answerJSON answers with JSON that nobody keeps.
func answerJSON(w http.ResponseWriter, status int, content any) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(content)
}

// provisioned are the handlers of all configurations that are loaded.
var provisioned struct {
	mu  sync.Mutex
	all []*Handler // in the order of their provisioning
}

func allHandlers() []*Handler {
	provisioned.mu.Lock()
	defer provisioned.mu.Unlock()
	return slices.Clone(provisioned.all)
}

func handlersOf(registry *prometheus.Registry) (handlers []*Handler) {
	for _, h := range allHandlers() {
		if h.health.registry == registry {
			handlers = append(handlers, h)
		}
	}
	return handlers
}

// health is what a handler keeps for Health.
type health struct {
	registry *prometheus.Registry

	mu       sync.Mutex
	attempts map[string]lastAttempts // by dispatcher
	store    failing
	audit    failing

	asking sync.Mutex // the store
	asked  time.Time
	err    error
}

// serveHealth has Health know of the handler, until release.
func (h *Handler) serveHealth(registry *prometheus.Registry) {
	h.health.registry = registry
	provisioned.mu.Lock()
	defer provisioned.mu.Unlock()
	provisioned.all = append(provisioned.all, h)
	h.release = append(h.release, func() error {
		provisioned.mu.Lock()
		defer provisioned.mu.Unlock()
		provisioned.all = slices.DeleteFunc(provisioned.all, func(other *Handler) bool { return other == h })
		return nil
	})
}

// exchanged notes the attempts of an exchange.
func (h *health) exchanged(r exchange.Record) {
	now := time.Now().UTC()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range r.Attempts {
		if !a.Made {
			continue
		}
		last := h.attempts[a.Dispatcher]
		if a.Reason == "" {
			last.Success = &now
		} else {
			last.Failure, last.Reason = &now, a.Reason
		}
		h.attempts[a.Dispatcher] = last
	}
}

func (h *Handler) state(ctx context.Context) handlerState {
	storeErr := h.storeWritable(ctx)
	held := h.credentials.states()
	h.health.mu.Lock()
	defer h.health.mu.Unlock()
	state := handlerState{
		BasePath: h.BasePath, Namespace: h.Namespace, Observe: h.Observe,
		Store:       h.health.store.part(storeErr),
		Unsynced:    h.exchange.Targets.Unsynced.Len(),
		KeySources:  make(map[string]sourceState),
		Dispatchers: make(map[string]lastAttempts, len(h.Dispatchers)),
	}
	if h.audit != nil {
		p := h.health.audit.part(h.audit.trouble.failure())
		state.Audit = &p
	}
	for _, d := range h.Dispatchers {
		last := h.health.attempts[d.Name]
		if c, ok := held[d.Name]; ok {
			last.Credentials = &c
		}
		state.Dispatchers[d.Name] = last
	}
	for name, c := range held {
		if source, ok := strings.CutPrefix(name, ofKeySource); ok {
			state.KeySources[source] = sourceState{c}
		}
	}
	return state
}

// failing is since when a part fails, zero for one that works.
type failing time.Time

func (f *failing) part(err error) part {
	if err == nil {
		*f = failing{}
		return part{Writable: true}
	}
	if time.Time(*f).IsZero() {
		*f = failing(time.Now().UTC())
	}
	since := time.Time(*f)
	return part{Error: err.Error(), Since: &since}
}

// healthInterval is how often health checks reach the store at most.
const healthInterval = time.Second

func (h *Handler) storeWritable(ctx context.Context) error {
	c := h.health
	c.asking.Lock()
	defer c.asking.Unlock()
	if time.Since(c.asked) < healthInterval {
		return c.err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), trialTimeout)
	defer cancel()
	c.err, c.asked = h.exchange.Targets.Writable(ctx), time.Now()
	return c.err
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Health)(nil)
	_ caddyfile.Unmarshaler       = (*Health)(nil)
	_ caddyhttp.MiddlewareHandler = (*Health)(nil)
)

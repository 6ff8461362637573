// Package caddymodule is Caddy's face of the sidecar: the HTTP handler
// http.handlers.oob_dispatch, its Caddyfile and its metrics.
package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/internal/exchange"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	_ "github.com/oob-dispatch/oob-dispatch/targets/kv/caddystore" // the default store
)

// Handler takes over the delivery of out-of-band messages from the nevisFIDO
// server that a later handler, usually reverse_proxy, forwards to. It asks
// nevisFIDO for the token, encrypts the message with the key that the device
// registered, hands it to the dispatcher that the caller named, and answers
// with the true outcome. Everything that is not one of nevisFIDO's
// out-of-band calls passes through untouched.
//
// Dispatchers are guest modules in the namespace `oob.dispatchers`, stores in
// `oob.stores`.
type Handler struct {
	// The path below which nevisFIDO's API is found. Default: `/nevisfido`
	BasePath string `json:"base_path,omitempty"`

	// Keeps the targets of several nevisFIDOs or tenants on one store apart.
	// Default: none
	Namespace string `json:"namespace,omitempty"`

	// The dispatcher that nevisFIDO is asked for in place of one of ours. It
	// has to be one of type `link` in nevisFIDO's configuration, because its
	// link carries the redeem URL and, from 8.2511 on, the encrypted message.
	// Default: `link`
	UpstreamDispatcher string `json:"upstream_dispatcher,omitempty"`

	// Where devices redeem tokens, as they see it, such as
	// `https://fido.example.com/nevisfido/token/redeem`; `/<operation>` is
	// appended. Used when nevisFIDO's answer carries no link. Placeholders
	// are resolved at load.
	RedeemURL string `json:"redeem_url,omitempty"`

	// How long tokens live, by operation, which nevisFIDO's answer does not
	// tell. Default: 5m for `registration`, 2m for `authentication` and
	// `deregistration`
	TokenLifetime map[nevisfido.Operation]caddy.Duration `json:"token_lifetime,omitempty"`

	// The time for all delivery work of one request. Default: 8s
	Deadline caddy.Duration `json:"deadline,omitempty"`

	// How long nevisFIDO may take over a dispatch, which has 504 for an answer
	// beyond. Default: 30s
	UpstreamTimeout caddy.Duration `json:"upstream_timeout,omitempty"`

	// The largest dispatch request, and the largest answer to one, in bytes.
	// Default: 65536
	MaxBody int64 `json:"max_body,omitempty"`

	// The number of digits, 2 to 8, of a code that both sides can show, so
	// that the user compares them. It is added to the answer as `visualCode`.
	// Default: none
	VisualCode int `json:"visual_code,omitempty"`

	// The store of dispatch targets. Default: `{"type": "caddy"}`, Caddy's
	// configured storage
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=oob.stores inline_key=type"`

	// Where targets are looked for that the store does not hold, in order.
	// Sources that know users give the placeholders `{oob.user.email}`,
	// `{oob.user.mobile}` and `{oob.user.address}` their values.
	KeySourcesRaw []json.RawMessage `json:"key_sources,omitempty" caddy:"namespace=oob.key_sources inline_key=type"`

	// Which keys of devices are good enough.
	KeyPolicy KeyPolicy `json:"key_policy,omitzero"`

	// Learns the keys of devices and reports what would be dispatched, by
	// which dispatcher and with which key, but intercepts nothing: for the
	// first weeks, and as a switch back.
	Observe bool `json:"observe,omitempty"`

	// How often dispatches may happen, over all dispatchers. Default: 5 in
	// 5m and 15 in 1h per target
	Limits []Limit `json:"limits,omitempty"`

	// Allows any number of dispatches.
	LimitsOff bool `json:"limits_off,omitempty"`

	// Where an audit trail is kept. Default: nowhere
	Audit *Audit `json:"audit,omitempty"`

	// Tells the relying party that the address of a target is gone, such as
	// that of an app that was uninstalled: a dispatcher that needs no address,
	// usually a `webhook`, with a body such as
	// `{"target":"{oob.target_id}","user":"{oob.username}"}`. Of the common
	// options it takes `timeout`, `retries` and `max_concurrent`.
	OnExpired *Dispatcher `json:"on_expired,omitempty"`

	// The dispatchers that callers can name.
	Dispatchers []*Dispatcher `json:"dispatchers,omitempty"`

	exchange   *exchange.Exchange
	limiterKey string // set while the shared limiter is held
	auditPath  string // set while the shared audit file is held
	trail      auditTrail

	logger *zap.Logger
}

// KeyPolicy says which keys of devices are good enough, beyond what is refused
// anyhow.
type KeyPolicy struct {
	// The smallest RSA key, in bits: 2048, 3072 or 4096. Default: 2048
	MinRSABits int `json:"min_rsa_bits,omitempty"`

	// How long a device may use a key. Default: for ever
	MaxKeyAge caddy.Duration `json:"max_key_age,omitempty"`
}

func (p KeyPolicy) encryption() encrypt.Policy { return encrypt.Policy{MinRSABits: p.MinRSABits} }

func (p KeyPolicy) check() error {
	switch p.MinRSABits {
	case 0, 2048, 3072, 4096:
	default:
		return fmt.Errorf("key_policy: min_rsa_bits is 2048, 3072 or 4096, not %d", p.MinRSABits)
	}
	if p.MaxKeyAge < 0 {
		return errors.New("key_policy: max_key_age has to be longer than zero")
	}
	return nil
}

// Defaults of the handler.
const (
	defaultBasePath        = "/nevisfido"
	defaultDeadline        = 8 * time.Second
	defaultUpstreamTimeout = 30 * time.Second
	defaultMaxBody         = 64 << 10
	minMaxBody             = 1 << 10
	largestMaxBody         = 512 << 10
	minVisualCode          = 2
	maxVisualCode          = 8
)

func defaultLifetime(op nevisfido.Operation) time.Duration {
	if op == nevisfido.Registration {
		return 5 * time.Minute
	}
	return 2 * time.Minute
}

func defaultLimits() []dispatchers.Limit {
	return []dispatchers.Limit{
		{Scope: dispatchers.PerTarget, N: 5, Window: 5 * time.Minute},
		{Scope: dispatchers.PerTarget, N: 15, Window: time.Hour},
	}
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
	h.logger = ctx.Logger()
	if err := h.setDefaults(); err != nil {
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
	channels, err := h.loadDispatchers(ctx, user != nil)
	if err != nil {
		return err
	}
	handles, err := h.handles(ctx.Slogger(), store, channels)
	if err != nil {
		return err
	}
	onExpired, err := h.loadOnExpired(ctx)
	if err != nil {
		return err
	}
	metrics, err := newMetrics(ctx.GetMetricsRegistry())
	if err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	limits, err := h.limits()
	if err != nil {
		return err
	}
	limiter, err := h.limiter(store)
	if err != nil {
		return err
	}
	if err := h.openAudit(); err != nil {
		return err
	}
	directory := h.directory(store, sources, metrics)
	go directory.Run(ctx)
	h.exchange, err = exchange.New(exchange.Config{
		Config: delivery.Config{
			Channels:         channels,
			OnExpired:        onExpired,
			Targets:          directory,
			Links:            handles,
			RedeemURL:        h.RedeemURL,
			Lifetimes:        h.lifetimes(),
			Deadline:         time.Duration(h.Deadline),
			VisualCodeDigits: h.VisualCode,
			Lookup:           lookup,
			User:             user,
			Log:              ctx.Slogger(),
		},
		BasePath:           h.BasePath,
		UpstreamDispatcher: h.UpstreamDispatcher,
		UpstreamTimeout:    time.Duration(h.UpstreamTimeout),
		MaxBody:            h.MaxBody,
		ObserveOnly:        h.Observe,
		Limits:             limits,
		Limiter:            limiter,
		ClientIP:           clientIP,
		Observer:           h.observer(metrics),
	})
	if err != nil {
		return err
	}
	go h.tryStore(ctx, directory)
	return nil
}

// directory puts the rules of learning and forgetting before the store.
func (h *Handler) directory(store *kv.Store, sources []targets.NamedSource, m *metrics) *targets.Directory {
	unsynced := targets.SharedUnsynced(store.Location(), h.Namespace)
	m.watch(unsynced)
	return &targets.Directory{Store: store, Sources: sources, Namespace: h.Namespace, Unsynced: unsynced, Policy: h.KeyPolicy.encryption(), MaxKeyAge: time.Duration(h.KeyPolicy.MaxKeyAge), Events: func(e targets.Event) {
		m.target(e)
		h.trail.target(e)
		fields := []zap.Field{
			zap.String("event", string(e.Name)), zap.String("target", exchange.TargetHash(e.Ref.ID)),
			zap.String("source", e.Source), zap.String("reason", e.Reason), zap.String("thumbprint", e.Thumbprint),
		}
		switch e.Name {
		case targets.EventKeyRefused, targets.EventSignatureKeyRefused, targets.EventKeyChanged, targets.EventStale, targets.EventDropped:
			h.logger.Warn("dispatch target", fields...)
		default:
			h.logger.Info("dispatch target", fields...)
		}
	}}
}

func (h *Handler) setDefaults() error {
	if h.BasePath == "" {
		h.BasePath = defaultBasePath
	}
	if err := checkBasePath(h.BasePath); err != nil {
		return err
	}
	if h.UpstreamDispatcher == "" {
		h.UpstreamDispatcher = nevisfido.BuiltInLink
	}
	if h.Deadline == 0 {
		h.Deadline = caddy.Duration(defaultDeadline)
	}
	if h.Deadline < 0 {
		return errors.New("deadline has to be longer than zero")
	}
	if h.UpstreamTimeout == 0 {
		h.UpstreamTimeout = caddy.Duration(defaultUpstreamTimeout)
	}
	if h.UpstreamTimeout < 0 {
		return errors.New("upstream_timeout has to be longer than zero")
	}
	if h.MaxBody == 0 {
		h.MaxBody = defaultMaxBody
	}
	if h.MaxBody < minMaxBody || h.MaxBody > largestMaxBody {
		return fmt.Errorf("max_body has to be between 1KiB and 512KiB, and is %d bytes", h.MaxBody)
	}
	if h.VisualCode != 0 && (h.VisualCode < minVisualCode || h.VisualCode > maxVisualCode) {
		return fmt.Errorf("visual_code has to have %d to %d digits", minVisualCode, maxVisualCode)
	}
	for op, lifetime := range h.TokenLifetime {
		if !op.Valid() || lifetime <= 0 {
			return fmt.Errorf("token_lifetime %s %s: name registration, authentication or deregistration and a time longer than zero", op, time.Duration(lifetime))
		}
	}
	if err := h.KeyPolicy.check(); err != nil {
		return err
	}
	return h.resolveRedeemURL()
}

func checkBasePath(path string) error {
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#%;\\ ") || strings.Contains(path+"/", "/../") {
		return fmt.Errorf("base_path %q has to be a plain absolute path, such as %s", path, defaultBasePath)
	}
	return nil
}

func validRedeemURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("it has to be a web URL without query, such as https://fido.example.com/nevisfido/token/redeem")
	}
	return nil
}

func (h *Handler) resolveRedeemURL() error {
	if h.RedeemURL == "" {
		return nil
	}
	resolved, err := placeholder.Resolve("redeem_url", h.RedeemURL)
	if err != nil {
		return err
	}
	if err := validRedeemURL(resolved); err != nil {
		return fmt.Errorf("redeem_url: %w", err)
	}
	h.RedeemURL = strings.TrimSuffix(resolved, "/")
	return nil
}

func (h *Handler) lifetimes() map[nevisfido.Operation]time.Duration {
	all := make(map[nevisfido.Operation]time.Duration)
	for _, op := range nevisfido.Operations() {
		all[op] = defaultLifetime(op)
		if configured, ok := h.TokenLifetime[op]; ok {
			all[op] = time.Duration(configured)
		}
	}
	return all
}

func (h *Handler) loadStore(ctx caddy.Context) (*kv.Store, error) {
	if h.StoreRaw == nil {
		h.StoreRaw = json.RawMessage(`{"type": "caddy"}`)
	}
	guest, err := ctx.LoadModule(h, "StoreRaw")
	if err != nil {
		return nil, fmt.Errorf("loading the store: %w", err)
	}
	store, ok := guest.(kv.Guest)
	if !ok {
		return nil, fmt.Errorf("the store module %T does not implement kv.Guest", guest)
	}
	return kv.Open(store), nil
}

// Cleanup gives back what Provision took. What goes on after its request was
// answered is finished before the process exits; a reload does not wait for it.
func (h *Handler) Cleanup() error {
	if h.exchange != nil && caddy.Exiting() {
		h.exchange.Wait()
		if n := h.exchange.Targets.Unsynced.Len(); n > 0 {
			h.logger.Error("the store did not take changes of dispatch targets before the end, and holds old records of them", zap.Int("changes", n))
		}
	}
	return errors.Join(h.releaseLimiter(), h.releaseAudit())
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

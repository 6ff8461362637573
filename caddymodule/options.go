package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/internal/exchange"
	"github.com/oob-dispatch/oob-dispatch/internal/keyedhash"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
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
	// must be one of type `link` in nevisFIDO's configuration, because its
	// link carries the redeem URL and, from 8.2511 on, the encrypted message.
	// Default: `link`
	UpstreamDispatcher string `json:"upstream_dispatcher,omitempty"`

	// Where devices redeem tokens, as they see it, such as
	// `https://fido.example.com/nevisfido/token/redeem`; `/<operation>` is
	// appended. Used when nevisFIDO's answer carries no link. Placeholders
	// are resolved when the configuration is loaded.
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

	// Adds a picture of the code to the answer, as SVG in `visualCodePicture`,
	// and to mails and letters. In a Caddyfile: `visual_code 6 picture`.
	VisualCodePicture bool `json:"visual_code_picture,omitempty"`

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

	// A file in which `observe` collects what nevisFIDO's calls and answers look
	// like: names and types of members, never values. `caddy oob doctor` reads it.
	// Placeholders are resolved when the configuration is loaded. Default: none
	Shapes string `json:"shapes,omitempty"`

	// How often dispatches may happen, over all dispatchers. Default: 5 in
	// 5m and 15 in 1h per target
	Limits []Limit `json:"limits,omitempty"`

	// Disables rate limits, but for those that a dispatcher has.
	LimitsOff bool `json:"limits_off,omitempty"`

	// The key of the keyed hashes that stand for users, targets, tokens and
	// sessions in the log and the audit trail: at least 32 characters that nobody
	// can guess (`openssl rand -base64 32`), the same on every replica. Use a
	// placeholder such as `{file./path}`. Default: one that is drawn once and kept
	// in the store
	HashKey string `json:"hash_key,omitempty"`

	// Where an audit trail is kept. Default: nowhere
	Audit *Audit `json:"audit,omitempty"`

	// Tells the relying party that the address of a target is gone, such as
	// that of an app that was uninstalled: a dispatcher that needs no address,
	// usually a `webhook`, with a body such as
	// `{"target":"{oob.target_id}","user":"{oob.username}"}`. Of the common
	// options it takes `timeout`, `retries` and `max_concurrent`.
	OnExpired *Dispatcher `json:"on_expired,omitempty"`

	// Tells a user that a device was added, or has another key, so that he notices
	// what he did not do: `smtp`, whose mails have a text for that, or `webhook`,
	// which can tell the relying party. A notice holds no token, and never goes to
	// the address of the target that changed. Of the common options it takes
	// `address`, such as `{oob.user.email}`, `timeout`, `retries` and
	// `max_concurrent`.
	OnKeyChange *Dispatcher `json:"on_key_change,omitempty"`

	// The dispatchers that callers can name.
	Dispatchers []*Dispatcher `json:"dispatchers,omitempty"`

	logger      *slog.Logger
	exchange    *exchange.Exchange
	audit       *auditFile // nil for none
	hash        *keyedhash.Key
	health      *health
	credentials *heldCredentials
	noClient    *sync.Once     // tells of requests without the address of a client
	release     []func() error // gives back what is shared with other handlers
}

// KeyPolicy says which keys of devices are good enough, in addition to what is
// always refused.
type KeyPolicy struct {
	// The smallest RSA key, in bits: 2048, 3072 or 4096. Default: 2048
	MinRSABits int `json:"min_rsa_bits,omitempty"`

	// How long a device may use a key. Default: without limit
	MaxKeyAge caddy.Duration `json:"max_key_age,omitempty"`
}

const defaultBasePath = "/nevisfido"

var handlerOptions = conf.Table[Handler]{
	conf.Text("base_path", func(h *Handler) *string { return &h.BasePath }, checkBasePath),
	conf.Text("namespace", func(h *Handler) *string { return &h.Namespace }, nil),
	conf.Text("upstream_dispatcher", func(h *Handler) *string { return &h.UpstreamDispatcher }, nil),
	conf.URL("redeem_url", func(h *Handler) *string { return &h.RedeemURL }, checkRedeemURL),
	conf.Repeated("token_lifetime", readLifetime, checkLifetimes),
	conf.Duration("deadline", func(h *Handler) *caddy.Duration { return &h.Deadline }, 0, 8*time.Second),
	conf.Duration("upstream_timeout", func(h *Handler) *caddy.Duration { return &h.UpstreamTimeout }, 0, 30*time.Second),
	conf.Size("max_body", func(h *Handler) *int64 { return &h.MaxBody }, 1<<10, 512<<10, 64<<10),
	conf.Custom("visual_code", readVisualCode, checkVisualCode),
	conf.Flag("observe", func(h *Handler) *bool { return &h.Observe }),
	conf.Path("shapes", func(h *Handler) *string { return &h.Shapes }),
	conf.Custom("store", readStore, nil),
	conf.Repeated("key_source", readKeySource, nil),
	conf.Block("key_policy", keyPolicyOptions, func(h *Handler) *KeyPolicy { return &h.KeyPolicy }),
	limitOption(func(h *Handler) (*[]Limit, *bool) { return &h.Limits, &h.LimitsOff }),
	conf.Secret("hash_key", func(h *Handler) *string { return &h.HashKey }, checkHashKey),
	auditOption,
	conf.Custom(delivery.OnExpired, readNotice(delivery.OnExpired, "webhook", func(h *Handler) **Dispatcher { return &h.OnExpired }), nil),
	conf.Custom(delivery.OnKeyChange, readNotice(delivery.OnKeyChange, "smtp", func(h *Handler) **Dispatcher { return &h.OnKeyChange }), nil),
	conf.Repeated("dispatcher", readDispatcher, nil),
}

var keyPolicyOptions = conf.Table[KeyPolicy]{
	conf.IntOneOf("min_rsa_bits", func(p *KeyPolicy) *int { return &p.MinRSABits }, 2048, 3072, 4096),
	conf.Duration("max_key_age", func(p *KeyPolicy) *caddy.Duration { return &p.MaxKeyAge }, 0, 0),
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. README lists the
// options.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	lines, err := handlerOptions.Read(d, h)
	if err == nil && len(h.Dispatchers) == 0 {
		return lines.Wrap(errors.New("oob_dispatch has no dispatcher: add one, such as: dispatcher app-link link"))
	}
	return err
}

// Check implements conf.Checker: it finds dispatchers that do not go together,
// or not with the handler's options.
func (h *Handler) Check() error {
	channels := make(map[string]*delivery.Channel, len(h.Dispatchers))
	byName := make(map[string]*Dispatcher, len(h.Dispatchers))
	written := true // in a Caddyfile
	for _, d := range h.Dispatchers {
		if byName[d.Name] != nil {
			return d.fault(errors.New("it is configured twice: give each a name of its own"))
		}
		if err := h.checkShortLinks(d); err != nil {
			return d.fault(err)
		}
		byName[d.Name], channels[d.Name] = d, d.preview()
		written = written && d.guest != nil
	}
	if !written {
		return nil // it came from JSON: what its dispatchers are is known when they are loaded
	}
	err := delivery.Bind(channels)
	if e, ok := errors.AsType[*delivery.CompositeError](err); ok {
		return byName[e.Dispatcher].lines.Wrap(err)
	}
	return err
}

func checkBasePath(path string) error {
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#%;\\ ") || strings.Contains(path+"/", "/../") {
		return fmt.Errorf("%q must be a plain absolute path, such as %s", path, defaultBasePath)
	}
	return nil
}

func checkRedeemURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("it must be a web URL without query, such as https://fido.example.com/nevisfido/token/redeem")
	}
	return nil
}

const visualCodeTakes = "visual_code takes a whole number from 2 to 8, and picture where there is to be one, such as: visual_code 6 picture"

func readVisualCode(h *Handler, d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	h.VisualCodePicture = len(args) == 2 && args[1] == "picture"
	if len(args) != 1 && !h.VisualCodePicture {
		return errors.New(visualCodeTakes)
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n == 0 {
		return errors.New(visualCodeTakes)
	}
	h.VisualCode = n
	return nil
}

func checkVisualCode(h *Handler) error {
	switch {
	case h.VisualCode == 0 && h.VisualCodePicture:
		return errors.New("visual_code_picture needs visual_code, the number of digits: set that too")
	case h.VisualCode != 0 && (h.VisualCode < 2 || h.VisualCode > 8):
		return errors.New(visualCodeTakes)
	}
	return nil
}

func readLifetime(h *Handler, d *caddyfile.Dispenser) error {
	args, err := conf.Values(d, 2, "token_lifetime takes an operation and a duration, such as: token_lifetime authentication 2m")
	if err != nil {
		return err
	}
	op := nevisfido.Operation(args[0])
	if _, repeated := h.TokenLifetime[op]; repeated {
		return fmt.Errorf("token_lifetime %s is given twice; remove one", op)
	}
	lifetime, err := conf.ParseDuration("token_lifetime", args[1])
	if err != nil {
		return err
	}
	if h.TokenLifetime == nil {
		h.TokenLifetime = make(map[nevisfido.Operation]caddy.Duration)
	}
	h.TokenLifetime[op] = lifetime
	return nil
}

func checkLifetimes(h *Handler) error {
	for _, op := range slices.Sorted(maps.Keys(h.TokenLifetime)) {
		if err := checkOperation(string(op)); err != nil {
			return fmt.Errorf("token_lifetime: %w", err)
		}
		if h.TokenLifetime[op] <= 0 {
			return fmt.Errorf("token_lifetime %s takes a duration longer than zero, such as 5m", op)
		}
	}
	return nil
}

// lifetimes returns how long tokens live, by operation.
func (h *Handler) lifetimes() map[nevisfido.Operation]time.Duration {
	all := make(map[nevisfido.Operation]time.Duration)
	for _, op := range nevisfido.Operations() {
		all[op] = 2 * time.Minute
	}
	all[nevisfido.Registration] = 5 * time.Minute
	for op, configured := range h.TokenLifetime {
		all[op] = time.Duration(configured)
	}
	return all
}

func checkOperation(name string) error {
	if !nevisfido.Operation(name).Valid() {
		return fmt.Errorf("%q is not an operation: name registration, authentication or deregistration", name)
	}
	return nil
}

func (p *KeyPolicy) encryption() encrypt.Policy { return encrypt.Policy{MinRSABits: p.MinRSABits} }

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Handler)(nil)
	_ conf.Checker          = (*Handler)(nil)
)

// Package webpush delivers out-of-band messages by Web Push (RFC 8030), to
// browsers and to phones without Google's services.
//
// RFC 8291 and RFC 8292 are a few lines each over the standard library, and
// are written here: the library webpush-go signs and encrypts with Go's deprecated
// curve arithmetic, ignores the expiry that it is given, prefixes a subject
// that is a mailto: URL once more, and sends in the same call, so that a bad
// subscription, a message too big and a failing network look alike.
package webpush

import (
	"context"
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/httpsend"
	"github.com/oob-dispatch/oob-dispatch/internal/watchedfile"
)

func init() { caddy.RegisterModule(WebPush{}) }

// defaultAllow are the push services of the large browsers: Chrome and those
// built on it, Chromium without Google's keys, Firefox, Edge, Safari.
var defaultAllow = []string{
	"fcm.googleapis.com",
	"jmt17.google.com",
	"updates.push.services.mozilla.com",
	"*.notify.windows.com",
	"*.push.apple.com",
}

// WebPush delivers push messages to browsers, and to apps that use
// UnifiedPush. The address of a target is its subscription, as
// `PushSubscription.toJSON()` writes it. The content is the out-of-band
// payload as JSON, with the members `nma_data`, `nma_data_content_type` and
// `nma_data_version`; it is encrypted for the browser once more, and padded,
// so that the push service learns nothing, not even its length. What the user
// sees is up to the service worker.
//
// A subscription that the push service does not know any more ends the target:
// it is quarantined until it is modified. Each attempt is exactly one request;
// a message that still waits is replaced by its repetition.
type WebPush struct {
	// Path of the VAPID key: a JSON file with `publicKey` and `privateKey` in
	// base64url, as `web-push generate-vapid-keys --json` writes them, and
	// `subject`, a `mailto:` or `https:` URL where push services reach you. A
	// changed file is used without a restart; subscriptions made for another
	// public key are refused. Placeholders are resolved at load. Needed.
	VAPID string `json:"vapid,omitempty"`

	// The hosts of push services that endpoints may have: a name, or
	// `*.suffix` for all names below one, with `:port` for one other than 443.
	// A host that is listed by its name may have a private address, as an
	// internal push service has; all others may not. With `proxy` it is the
	// proxy that resolves names and has to see to that. Replaces the default:
	// the push services of Chrome, Firefox, Edge and Safari
	Allow []string `json:"allow,omitempty"`

	httpclient.Options

	hosts   []hostRule
	vapid   *watchedfile.File[*vapidKey]
	service *httpsend.Service
}

var options = conf.Join(conf.Table[WebPush]{
	conf.Path("vapid", func(p *WebPush) *string { return &p.VAPID }),
	conf.MoreWords("allow", func(p *WebPush) *[]string { return &p.Allow }, conf.Parses(parseRule)),
}, conf.Embed(httpclient.Table, func(p *WebPush) *httpclient.Options { return &p.Options }))

// CaddyModule returns the Caddy module information.
func (WebPush) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  dispatchers.Namespace + ".web_push",
		New: func() caddy.Module { return new(WebPush) },
	}
}

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens. allow may repeat.
func (p *WebPush) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return options.Unmarshal(d, p) }

// Check implements conf.Checker.
func (p *WebPush) Check() error {
	if p.VAPID == "" {
		return errors.New("vapid <path> of a VAPID key is needed")
	}
	return nil
}

// Provision reads the key. It dials nothing.
func (p *WebPush) Provision(ctx caddy.Context) error {
	logger := dispatchers.Logger(ctx)
	err := options.Provision(p, logger)
	if err != nil {
		return err
	}
	if p.vapid, err = watchedfile.Open("vapid", p.VAPID, parseVAPID, logger); err != nil {
		return err
	}
	if !reachable(p.vapid.Value().subject) {
		logger.Warn("the host in the subject of the VAPID key cannot be reached from the internet; " +
			"Apple's push service refuses such senders: name an address or page where push services reach you")
	}
	if p.hosts, err = parseRules(p.Allow); err != nil {
		return err
	}
	transport, err := httpclient.NewTransport(&p.Options, logger)
	if err != nil {
		return err
	}
	p.service = &httpsend.Service{Name: "the push service", Doing: "sending to the push service", Statuses: statuses, Transport: transport}
	if p.Proxy == "" { // else it is the proxy that resolves names
		transport.DialContext = p.dial
	}
	return nil
}

// Cleanup closes the connections that are idle, and the others when their
// requests have ended.
func (p *WebPush) Cleanup() error {
	p.service.Close()
	return nil
}

// Traits implements dispatchers.Dispatcher.
func (*WebPush) Traits() dispatchers.Traits { return dispatchers.Traits{PayloadOnly: true} }

// Dispatch implements dispatchers.Dispatcher.
func (p *WebPush) Dispatch(ctx context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
	r, err := p.request(m) //nolint:contextcheck // the key file is read for all messages
	if err != nil {
		return dispatchers.Receipt{}, err
	}
	answer, err := p.service.Do(ctx, r)
	switch {
	case errors.Is(err, errNotPublic):
		return dispatchers.Receipt{}, dispatchers.Fail(dispatchers.Refused, reasonPrivateAddress,
			"the push service was not contacted: %w; if it is an internal one, name its host in the option allow", errNotPublic)
	case err != nil:
		return dispatchers.Receipt{}, err
	}
	switch answer.Status {
	// RFC 8030 has 201, and 202 with receipts; push services of UnifiedPush
	// answer 200.
	case http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent:
		return dispatchers.Receipt{Response: dispatchers.SuccessfulDispatch}, nil
	}
	return dispatchers.Receipt{}, p.service.Failed(answer)
}

// LoadedCredentials implements dispatchers.CredentialHolder.
func (p *WebPush) LoadedCredentials() []dispatchers.Credential {
	return append(p.Options.LoadedCredentials(), dispatchers.Credential{Option: "vapid", Err: p.vapid.Err()})
}

// Interface guards
var (
	_ caddy.Provisioner            = (*WebPush)(nil)
	_ caddy.CleanerUpper           = (*WebPush)(nil)
	_ caddyfile.Unmarshaler        = (*WebPush)(nil)
	_ dispatchers.Dispatcher       = (*WebPush)(nil)
	_ dispatchers.CredentialHolder = (*WebPush)(nil)
	_ conf.Checker                 = (*WebPush)(nil)
)

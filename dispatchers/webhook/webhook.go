// Package webhook delivers out-of-band messages with an HTTP request of the
// operator's making: to an SMS provider, another push service, or a system of
// the house.
package webhook

import (
	"context"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
)

// Dispatcher posts a message to a URL. The host stands in the configuration
// and never comes from a request; redirects are not followed. Each attempt is
// exactly one request, and all attempts bear the same `Idempotency-Key`.
//
// Beside the placeholders of all dispatchers, templates here know
// `{webhook.address}`, what the option `address` gave, or else the target's
// own address; `{webhook.id}`, the idempotency key; and `{webhook.text}`, the
// option `text`. `{env.…}` and `{file.…}` are resolved at load. A message for
// which a template lacks the address is not sent.
//
// An answer other than those of `success` is a failure: 408, 425, 429 and 5xx
// are temporary, 410 says that the address is gone for good, all others that
// the message was refused. What the body of an answer says does not matter.
type Dispatcher struct {
	// Where to send, a template: https, or http if the host is this machine.
	// Placeholders of a request may stand in path and query only; their values
	// are percent-encoded. Needed.
	URL dispatchers.Template `json:"url,omitempty"`

	// `POST`, `PUT` or `PATCH`. There is no GET: it would leave addresses in
	// the logs of servers on the way, and any of them may repeat it. Default:
	// `POST`
	Method string `json:"method,omitempty"`

	// Headers to send, name to template. Control characters in values become
	// spaces. A credential belongs in a placeholder such as `{env.NAME}`.
	Headers map[string]dispatchers.Template `json:"headers,omitempty"`

	// The media type of the body. It decides how values are escaped: JSON
	// (`application/json`, `…+json`), `application/x-www-form-urlencoded`, XML
	// (`application/xml`, `text/xml`, `…+xml`) or `text/plain`. Default:
	// `application/json`
	ContentType string `json:"content_type,omitempty"`

	// The body, a template. In JSON, placeholders stand inside of strings.
	// Default: a JSON object with the members `id`, `operation`, `dispatcher`,
	// `address`, `title`, `body`, `text`, `link`, `expires` (RFC 3339) and
	// `message`; the last is an object with the members `nma_data`,
	// `nma_data_content_type` and `nma_data_version`, all strings, as a push
	// message carries them. Empty members are left out, and `message` where
	// the link is a short one (`handle`). As `on_expired` it has `target_id`,
	// `device_id` and `username` in their place.
	Body dispatchers.Template `json:"body,omitempty"`

	// The text of a short message, a template, for `{webhook.text}`.
	Text dispatchers.Template `json:"text,omitempty"`

	// The most SMS segments that `text` may need, 1 to 255; a longer message
	// is refused before it is sent. A segment has 160 characters of the GSM
	// alphabet (153 if there are several), or 70 (67) if any character is not
	// in it. Default: no limit
	SMSSegments int `json:"sms_segments,omitempty"`

	// Keys that sign the request by the Standard Webhooks convention (headers
	// `webhook-id`, `webhook-timestamp`, `webhook-signature`), each of the form
	// `whsec_<base64>` with 24 to 64 bytes. With several, there are as many
	// signatures, so that a key can be replaced. Placeholders are resolved at
	// load.
	Secrets []string `json:"secrets,omitempty"`

	// The statuses that mean success: `2xx`, `4xx`, or one such as `202`, or
	// `409` for a gateway that says so to a repeated message. Default: `2xx`
	Success []string `json:"success,omitempty"`

	httpclient.Options

	checking     bool // whether this instance is for CheckOptions only
	origin       string
	path         dispatchers.Template // and query
	headers      map[string]setting
	body         *setting // nil for the default
	text         *setting
	escape       func(string) string
	keys         [][]byte
	success      []statusRange
	needsAddress bool
	needsLink    bool
	transport    *http.Transport
}

// CaddyModule returns the Caddy module information.
func (Dispatcher) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  dispatchers.Namespace + ".webhook",
		New: func() caddy.Module { return new(Dispatcher) },
	}
}

// Provision checks the options and resolves the secrets. It dials nothing.
func (w *Dispatcher) Provision(ctx caddy.Context) error {
	logger := dispatchers.Logger(ctx)
	if err := w.set(logger); err != nil {
		return err
	}
	w.needsAddress, w.needsLink = w.uses(addressPlaceholder), w.uses("oob.link")
	transport, err := httpclient.NewTransport(w.Options, logger)
	if err != nil {
		return err
	}
	w.transport = transport
	return nil
}

// Cleanup closes idle connections.
func (w *Dispatcher) Cleanup() error {
	if w.transport != nil {
		w.transport.CloseIdleConnections()
	}
	return nil
}

// Traits implements dispatchers.Dispatcher.
func (*Dispatcher) Traits() dispatchers.Traits { return dispatchers.Traits{AddressOptional: true} }

// Dispatch implements dispatchers.Dispatcher.
func (w *Dispatcher) Dispatch(ctx context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
	r, err := w.request(m, time.Now())
	if err != nil {
		return dispatchers.Receipt{}, err
	}
	if err := w.send(ctx, r); err != nil {
		return dispatchers.Receipt{}, err
	}
	return dispatchers.Receipt{Response: dispatchers.SuccessfulDispatch}, nil
}

// Interface guards
var (
	_ caddy.Provisioner         = (*Dispatcher)(nil)
	_ caddy.CleanerUpper        = (*Dispatcher)(nil)
	_ dispatchers.Dispatcher    = (*Dispatcher)(nil)
	_ dispatchers.OptionChecker = (*Dispatcher)(nil)
)

// Package webhook delivers out-of-band messages with an HTTP request that the
// operator composes: to an SMS provider, another push service, or an internal
// system.
package webhook

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/textproto"
	"regexp"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/httpsend"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/internal/tracing"
)

func init() { caddy.RegisterModule(Webhook{}) }

// Webhook posts a message to a URL. The host is the configuration's
// and never comes from a request; redirects are not followed. Each attempt is
// exactly one request, and all attempts bear the same `Idempotency-Key`.
//
// In addition to the placeholders of all dispatchers, templates here know
// `{webhook.address}`, what the option `address` gave, or else the target's
// own address; `{webhook.id}`, the idempotency key; and `{webhook.text}`, the
// option `text`. `{env.…}` and `{file.…}` are resolved at load. A message for
// which a template lacks the address is not sent.
//
// An answer other than those of `success` is a failure: 408, 425, 429 and 5xx
// are temporary, those of `gone` say that the address is gone for good, all
// others that the message was refused. Of gateways that say so with a status of
// success, `success_body` and `failure_body` read the body.
type Webhook struct {
	// Where to send, a template: https, or http if the host is this machine.
	// Placeholders of a request may be used in path and query only. Values in
	// path and query are percent-encoded, those of `{env.…}` and `{file.…}` as
	// well; what comes before the path is taken as it is, so that `{env.NAME}`
	// can be a whole URL. Needed.
	URL dispatchers.Template `json:"url,omitempty"`

	// `POST`, `PUT`, `PATCH` or `GET`. GET has no body: everything is in the
	// URL, which servers on the way may log, and which they may repeat.
	// Default: `POST`
	Method string `json:"method,omitempty"`

	// Headers to send, name to template. Control characters in values become
	// spaces. A credential belongs in a placeholder such as `{env.NAME}`.
	// `Content-Type` is another way to give `content_type`.
	Headers map[string]dispatchers.Template `json:"headers,omitempty"`

	// The media type of the body. It decides how values are escaped: JSON
	// (`application/json`, `…+json`), `application/x-www-form-urlencoded`, XML
	// (`application/xml`, `text/xml`, `…+xml`) or `text/plain`. With `;
	// charset=iso-8859-1` a form, XML or text is sent in that character set;
	// characters that it lacks become references in XML and `?` elsewhere.
	// Default: `application/json`
	ContentType string `json:"content_type,omitempty"`

	// The body, a template; empty for none. In JSON, placeholders belong inside
	// of strings.
	// Default: a JSON object with the members `id`, `operation`, `dispatcher`,
	// `address`, `title`, `body`, `text`, `link`, `expires` (RFC 3339) and
	// `message`; the last is an object with the members `nma_data`,
	// `nma_data_content_type` and `nma_data_version`, all strings, as a push
	// message carries them. Empty members are left out, and `message` where
	// the link is a short one (`handle`). As `on_expired` and `on_key_change` it
	// has `event`, `target_id`, `device_id` and `username` in their place.
	Body *dispatchers.Template `json:"body,omitempty"`

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

	// A regular expression (RE2 syntax) that the body of an answer has to match
	// to count as delivered, for gateways that tell by the body. The first
	// 64 KiB of it are read. An answer that does not match is `refused`.
	SuccessBody string `json:"success_body,omitempty"`

	// Regular expressions that mean a failure where the body of an answer
	// matches, although its status is one of success. The first that matches
	// counts, before `success_body`.
	FailureBody []FailureBody `json:"failure_body,omitempty"`

	// The statuses, 400 to 499, that say that the target's address is gone for
	// good: the target is quarantined until it is modified. For gateways whose
	// `410`, say, is about the address and not about the URL. Default: none
	Gone []string `json:"gone,omitempty"`

	httpclient.Options

	plan    *plan
	service *httpsend.Service
}

// FailureBody is what a body that means a failure looks like.
type FailureBody struct {
	// A regular expression (RE2 syntax).
	Match string `json:"match,omitempty"`

	// What it means: `refused`, `temporary`, `expired`, `no_target` or
	// `broken`. Default: `refused`
	Class dispatchers.Class `json:"class,omitempty"`
}

const maxSegments = 255 // the parts of a concatenated message are counted in one byte

var options = conf.Join(conf.Table[Webhook]{
	conf.Text("url", func(w *Webhook) *dispatchers.Template { return &w.URL }, nil),
	conf.OneOf("method", func(w *Webhook) *string { return &w.Method }, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodGet),
	conf.Repeated("header", readHeader, nil),
	conf.Text("content_type", func(w *Webhook) *string { return &w.ContentType }, nil),
	conf.OptionalText("body", func(w *Webhook) **dispatchers.Template { return &w.Body }, nil),
	conf.Text("text", func(w *Webhook) *dispatchers.Template { return &w.Text }, nil),
	conf.Int("sms_segments", func(w *Webhook) *int { return &w.SMSSegments }, 1, maxSegments, 0),
	conf.Each("secret", func(w *Webhook) *[]string { return &w.Secrets }, conf.Parses(parseSecret)),
	conf.Words("success", func(w *Webhook) *[]string { return &w.Success }, nil),
	conf.Text("success_body", func(w *Webhook) *string { return &w.SuccessBody }, nil),
	conf.Repeated("failure_body", readFailureBody, func(w *Webhook) error {
		_, err := newAnswers(w)
		return err
	}),
	conf.Words("gone", func(w *Webhook) *[]string { return &w.Gone }, nil),
}, conf.Embed(httpclient.Table, func(w *Webhook) *httpclient.Options { return &w.Options }))

// CaddyModule returns the Caddy module information.
func (Webhook) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  dispatchers.Namespace + ".webhook",
		New: func() caddy.Module { return new(Webhook) },
	}
}

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens. header, secret
// and failure_body may repeat. Backticks quote a body that holds quotes:
//
//	body `{"to":"{webhook.address}","text":"{webhook.text}"}`
func (w *Webhook) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return options.Unmarshal(d, w) }

func readHeader(w *Webhook, d *caddyfile.Dispenser) error {
	args, err := conf.Values(d, 2, "header takes two values: a name and a value; put one that has spaces in quotes")
	if err != nil {
		return err
	}
	if w.Headers == nil {
		w.Headers = map[string]dispatchers.Template{}
	}
	if _, twice := w.Headers[args[0]]; twice {
		return errors.New("header: it is given twice with the same name; remove one")
	}
	w.Headers[args[0]] = dispatchers.Template(args[1])
	return blankPlan(nil).setHeader(args[0], w.Headers[args[0]])
}

// Check implements conf.Checker.
func (w *Webhook) Check() error {
	_, err := newPlan(w, nil)
	return err
}

// Provision checks the options and resolves placeholders. It dials nothing.
func (w *Webhook) Provision(ctx caddy.Context) error {
	logger := dispatchers.Logger(ctx)
	err := options.Provision(w, logger)
	if err != nil {
		return err
	}
	if w.plan, err = newPlan(w, placeholder.Resolve); err != nil {
		return err
	}
	for _, text := range w.Secrets {
		key, err := parseSecret(text)
		if err != nil {
			return err // never: the option was checked
		}
		w.plan.keys = append(w.plan.keys, key)
	}
	w.warnLiterals(logger)
	transport, err := httpclient.NewTransport(&w.Options, logger)
	if err != nil {
		return err
	}
	w.service = &httpsend.Service{
		Name: "the webhook", Doing: "sending to the webhook", Statuses: statuses,
		ReadsBody: len(w.plan.answers.body) > 0, Transport: transport,
	}
	return nil
}

var secretHeader = regexp.MustCompile(`(?i)auth|token|key|secret|password|credential`)

// warnLiterals warns about credentials in headers that are part of the
// configuration.
func (w *Webhook) warnLiterals(logger *slog.Logger) {
	for name, value := range w.Headers {
		if secretHeader.MatchString(name) && len(value.Placeholders()) == 0 {
			placeholder.WarnLiteral("header "+textproto.CanonicalMIMEHeaderKey(name), logger)
		}
	}
}

// Cleanup closes the connections that are idle, and the others when their
// requests have ended.
func (w *Webhook) Cleanup() error {
	w.service.Close()
	return nil
}

// Traits implements dispatchers.Dispatcher.
func (w *Webhook) Traits() dispatchers.Traits {
	return dispatchers.Traits{Notices: true, AddressOptional: w.plan == nil || !w.plan.used[addressPlaceholder]}
}

// Dispatch implements dispatchers.Dispatcher.
func (w *Webhook) Dispatch(ctx context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
	r, err := w.plan.request(m, time.Now())
	if err != nil {
		return dispatchers.Receipt{}, err
	}
	tracing.Inject(ctx, r.Header)
	answer, err := w.service.Do(ctx, r)
	if err := w.plan.answers.judge(w.service, answer, err); err != nil {
		return dispatchers.Receipt{}, err
	}
	return dispatchers.Receipt{Response: dispatchers.SuccessfulDispatch}, nil
}

// Interface guards
var (
	_ caddy.Provisioner            = (*Webhook)(nil)
	_ caddy.CleanerUpper           = (*Webhook)(nil)
	_ caddyfile.Unmarshaler        = (*Webhook)(nil)
	_ dispatchers.Dispatcher       = (*Webhook)(nil)
	_ conf.Checker                 = (*Webhook)(nil)
	_ dispatchers.CredentialHolder = (*Webhook)(nil)
)

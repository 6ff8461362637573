package caddymodule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
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

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	oob_dispatch [<matcher>] {
//		base_path           <path>
//		namespace           <name>
//		upstream_dispatcher <name>
//		redeem_url          <url>
//		token_lifetime      <operation> <duration>
//		deadline            <duration>
//		upstream_timeout    <duration>
//		max_body            <size>
//		visual_code         <digits>
//		observe
//		store               <type> [<args>] { … }
//		key_source          <type> [<args>] { … }
//		key_policy {
//			min_rsa_bits <n>
//			max_key_age  <duration>
//		}
//		limit               target|user|client <n> <window> | off
//		audit               file <path> | log <name>
//		dispatcher          <name> <type> [<args>] {
//			encryption     required|preferred|off
//			address        <template>
//			base_url       <url>
//			handle         <url>
//			timeout        <duration>
//			retries        <n>
//			operations     registration|authentication|deregistration …
//			limit          target|user|client <n> <window> | off
//			max_concurrent <n>
//			… options of the type …
//		}
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if d.NextArg() {
		return d.Errf("unexpected argument %q: the options stand in a block", d.Val())
	}
	seen := make(once)
	for d.NextBlock(0) {
		if err := h.option(d, seen); err != nil {
			return err
		}
	}
	if len(h.Dispatchers) == 0 {
		return d.Err("oob_dispatch has no dispatcher: add one, such as: dispatcher app-link link")
	}
	return h.checkWritten()
}

func (h *Handler) option(d *caddyfile.Dispenser, seen once) error {
	word := d.Val()
	switch word {
	case "dispatcher":
		return h.dispatcherOption(d)
	case "limit":
		return limitOption(d, &h.Limits, &h.LimitsOff)
	case "token_lifetime":
		return h.lifetimeOption(d)
	case "key_source":
		return h.keySourceOption(d)
	}
	if err := seen.mark(d, word); err != nil {
		return err
	}
	switch word {
	case "base_path":
		return checkedOption(d, &h.BasePath, checkBasePath)
	case "namespace":
		return textOption(d, &h.Namespace)
	case "upstream_dispatcher":
		return textOption(d, &h.UpstreamDispatcher)
	case "redeem_url":
		return checkedOption(d, &h.RedeemURL, func(text string) error {
			return placeholder.Check("redeem_url", text, validRedeemURL)
		})
	case "deadline":
		return durationOption(d, &h.Deadline)
	case "upstream_timeout":
		return durationOption(d, &h.UpstreamTimeout)
	case "max_body":
		return sizeOption(d, &h.MaxBody)
	case "visual_code":
		return numberOption(d, &h.VisualCode, minVisualCode, maxVisualCode)
	case "store":
		return h.storeOption(d)
	case "on_expired":
		return h.onExpiredOption(d)
	case "key_policy":
		return h.keyPolicyOption(d)
	case "audit":
		if err := auditOption(d, &h.Audit); err != nil {
			return err
		}
		if err := h.Audit.check(); err != nil {
			return d.WrapErr(err)
		}
		return nil
	case "observe":
		h.Observe = true
		if d.NextArg() {
			return d.Err("observe takes no value")
		}
		return nil
	}
	return d.Errf("unrecognized option %q of oob_dispatch", word)
}

func (h *Handler) lifetimeOption(d *caddyfile.Dispenser) error {
	var operation, duration string
	if !d.Args(&operation, &duration) || d.NextArg() {
		return d.Err("token_lifetime takes an operation and a duration, such as: token_lifetime authentication 2m")
	}
	op := nevisfido.Operation(operation)
	if !op.Valid() {
		return d.Errf("token_lifetime: there is no operation %q: name registration, authentication or deregistration", operation)
	}
	if _, repeated := h.TokenLifetime[op]; repeated {
		return d.Errf("token_lifetime %s is set twice", op)
	}
	lifetime, err := positiveDuration(d, "token_lifetime", duration)
	if err != nil {
		return err
	}
	if h.TokenLifetime == nil {
		h.TokenLifetime = make(map[nevisfido.Operation]caddy.Duration)
	}
	h.TokenLifetime[op] = lifetime
	return nil
}

func (h *Handler) storeOption(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("store takes a type, such as: store caddy")
	}
	name, at := d.Val(), lines{"": here(d)}
	guest, err := unmarshalGuest(d, targets.StoreNamespace, name)
	if err != nil {
		return err
	}
	if _, err := checkGuest(guest, targets.StoreNamespace+"."+name); err != nil {
		return at.errorAt(fmt.Errorf("store %s: %w", name, err))
	}
	h.StoreRaw = caddyconfig.JSONModuleObject(guest, "type", name, nil)
	return nil
}

func (h *Handler) keyPolicyOption(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("unexpected argument %q: the options of key_policy stand in a block", d.Val())
	}
	seen := make(once)
	for d.NextBlock(1) {
		word := d.Val()
		if err := seen.mark(d, word); err != nil {
			return err
		}
		var err error
		switch word {
		case "min_rsa_bits":
			err = numberOption(d, &h.KeyPolicy.MinRSABits, 2048, 4096)
		case "max_key_age":
			err = durationOption(d, &h.KeyPolicy.MaxKeyAge)
		default:
			err = d.Errf("unrecognized option %q of key_policy", word)
		}
		if err != nil {
			return err
		}
		if err := h.KeyPolicy.check(); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}

func (h *Handler) keySourceOption(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("key_source takes a type, such as: key_source file /path/to/targets.ndjson")
	}
	name, at := d.Val(), lines{"": here(d)}
	guest, err := unmarshalGuest(d, targets.KeySourceNamespace, name)
	if err != nil {
		return err
	}
	if _, err := checkGuest(guest, targets.KeySourceNamespace+"."+name); err != nil {
		return at.errorAt(fmt.Errorf("key_source %s: %w", name, err))
	}
	h.KeySourcesRaw = append(h.KeySourcesRaw, caddyconfig.JSONModuleObject(guest, "type", name, nil))
	return nil
}

// unmarshalGuest reads the block of a guest module.
func unmarshalGuest(d *caddyfile.Dispenser, namespace, name string) (caddyfile.Unmarshaler, error) {
	if _, err := caddy.GetModule(namespace + "." + name); err != nil {
		modules := caddy.GetModules(namespace)
		known := make([]string, 0, len(modules))
		for _, m := range modules {
			known = append(known, m.ID.Name())
		}
		return nil, d.Errf("there is no type %q of %s in this build; there are: %s", name, namespace, strings.Join(known, ", "))
	}
	return caddyfile.UnmarshalModule(d, namespace+"."+name)
}

func limitOption(d *caddyfile.Dispenser, limits *[]Limit, off *bool) error {
	const form = "limit takes target, user or client, a number and a window, such as: limit target 5 5m; or the word off"
	args := d.RemainingArgs()
	if len(args) == 1 && args[0] == "off" {
		if *off || len(*limits) > 0 {
			return d.Err("limit off stands beside another limit")
		}
		*off = true
		return nil
	}
	if len(args) != 3 {
		return d.Err(form)
	}
	if *off {
		return d.Err("limit off stands beside another limit")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return d.Errf("limit: %q is not a number: %s", args[1], form)
	}
	window, err := positiveDuration(d, "limit", args[2])
	if err != nil {
		return err
	}
	limit := Limit{Scope: dispatchers.Scope(args[0]), N: n, Window: window}
	if err := limit.check(); err != nil {
		return d.WrapErr(err)
	}
	if slices.Contains(*limits, limit) {
		return d.Errf("limit %s %s %s stands twice: remove one", args[0], args[1], args[2])
	}
	*limits = append(*limits, limit)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)

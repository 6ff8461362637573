package webhook

import (
	"log/slog"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/option"
)

func init() { caddy.RegisterModule(Dispatcher{}) }

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens. Syntax:
//
//	webhook {
//		url          <template>
//		method       POST|PUT|PATCH
//		header       <name> <template>
//		content_type <media_type>
//		body         <template>
//		text         <template>
//		sms_segments <max>
//		secret       <whsec_…>
//		success      <status...>
//		proxy        <url>
//		ca           <file>
//		client_cert  <cert_file> <key_file>
//	}
//
// header and secret may repeat. Backticks quote a body that holds quotes:
//
//	body `{"to":"{webhook.address}","text":"{webhook.text}"}`
func (w *Dispatcher) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // type
	if d.NextArg() {
		return d.Err("webhook takes no arguments; its options stand in a block")
	}
	for d.NextBlock(0) {
		if err := w.option(d); err != nil {
			return err
		}
	}
	return nil
}

// option reads one. Errors do not quote arguments, which may be secret.
func (w *Dispatcher) option(d *caddyfile.Dispenser) error {
	switch word := d.Val(); word {
	case "url":
		return w.urlOption(d)
	case "method":
		return w.methodOption(d)
	case "content_type":
		return option.Checked(d, &w.ContentType, oneArgument, checkContentType)
	case "body":
		return templateOption(d, &w.Body)
	case "text":
		return templateOption(d, &w.Text)
	case "header":
		return w.header(d)
	case "sms_segments":
		return w.smsSegments(d)
	case "secret":
		var secret string
		err := option.Checked(d, &secret, oneArgument, checkSecret)
		w.Secrets = append(w.Secrets, secret)
		return err
	case "success":
		return w.successOption(d)
	}
	known, err := httpclient.UnmarshalOption(&w.Options, d)
	if !known {
		return d.Errf("unrecognized option %q of webhook", d.Val())
	}
	return err
}

func (w *Dispatcher) urlOption(d *caddyfile.Dispenser) error {
	return option.Checked(d, &w.URL, oneArgument, func(text string) error {
		alone := &Dispatcher{URL: dispatchers.Template(text), checking: true}
		return alone.setURL(nil)
	})
}

func (w *Dispatcher) methodOption(d *caddyfile.Dispenser) error {
	return option.Checked(d, &w.Method, oneArgument, func(text string) error {
		return (&Dispatcher{Method: text}).setMethod(nil)
	})
}

func templateOption(d *caddyfile.Dispenser, to *dispatchers.Template) error {
	name := d.Val()
	return option.Checked(d, to, oneArgument, func(text string) error {
		return checkTemplate(name, dispatchers.Template(text))
	})
}

func (w *Dispatcher) header(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 2 || args[0] == "" {
		return d.Err("header takes two arguments: a name and a value; quote one that has spaces")
	}
	if _, twice := w.Headers[args[0]]; twice {
		return d.Errf("header %s is given twice", args[0])
	}
	alone := &Dispatcher{Headers: map[string]dispatchers.Template{args[0]: dispatchers.Template(args[1])}, checking: true}
	if err := alone.setHeaders(slog.New(slog.DiscardHandler)); err != nil {
		return d.WrapErr(err)
	}
	if w.Headers == nil {
		w.Headers = map[string]dispatchers.Template{}
	}
	w.Headers[args[0]] = dispatchers.Template(args[1])
	return nil
}

func (w *Dispatcher) smsSegments(d *caddyfile.Dispenser) error {
	var text string
	if w.SMSSegments != 0 {
		return d.Err("sms_segments is given twice")
	}
	if err := option.Text(d, &text, oneArgument); err != nil {
		return err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxSegments {
		return d.Errf("sms_segments takes a number from 1 to %d", maxSegments)
	}
	w.SMSSegments = n
	return nil
}

func (w *Dispatcher) successOption(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 || w.Success != nil {
		return d.Err("success takes statuses such as 2xx or 202, and stands once")
	}
	for _, arg := range args {
		if _, err := parseStatus(arg); err != nil {
			return d.WrapErr(err)
		}
	}
	w.Success = args
	return nil
}

const oneArgument = "one argument; quote one that has spaces"

// Interface guard
var _ caddyfile.Unmarshaler = (*Dispatcher)(nil)

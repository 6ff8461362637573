package letter

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/option"
	"github.com/oob-dispatch/oob-dispatch/internal/wording"
)

func init() { caddy.RegisterModule(Dispatcher{}) }

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens. Syntax:
//
//	letter {
//		spool        <dir>
//		max_spool    <n>
//		printer      <ipp_url>
//		templates    <dir>
//		language     <template>... <language>
//		min_lifetime <duration>
//		sender       "<name> | <street> | <town>"
//		window       right|left
//		proxy        <url>
//		ca           <file>
//		client_cert  <cert_file> <key_file>
//	}
func (l *Dispatcher) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // type
	if d.NextArg() {
		return d.Errf("unexpected argument %q: the options of letter stand in a block", d.Val())
	}
	return httpclient.UnmarshalBlock(&l.Options, d, l.option)
}

func (l *Dispatcher) option(d *caddyfile.Dispenser) error {
	const oneValue = "one value; put it in quotes if it holds spaces"
	switch word := d.Val(); word {
	case "spool":
		return option.Path(d, &l.Spool, oneValue)
	case "max_spool":
		return l.maxSpoolOption(d)
	case "printer":
		return option.Checked(d, &l.Printer, oneValue, checkPrinter)
	case "templates":
		return option.Path(d, &l.Templates, oneValue)
	case "language":
		var err error
		l.Language, err = wording.ParseLanguage(d, d.RemainingArgs())
		return err
	case "min_lifetime":
		return l.minLifetimeOption(d)
	case "sender":
		return option.Checked(d, &l.Sender, oneValue, func(text string) error {
			_, err := parseSender(text, windowRight)
			return err
		})
	case "window":
		return option.Checked(d, &l.Window, oneValue, checkWindow)
	default:
		return d.Errf("unrecognized option %q of letter", word)
	}
}

func (l *Dispatcher) maxSpoolOption(d *caddyfile.Dispenser) error {
	var text string
	if err := option.Text(d, &text, "one value"); err != nil {
		return err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n <= 0 {
		return d.Errf("max_spool %q is not a positive number of letters", text)
	}
	l.MaxSpool = n
	return nil
}

func (l *Dispatcher) minLifetimeOption(d *caddyfile.Dispenser) error {
	var text string
	if err := option.Text(d, &text, "one value"); err != nil {
		return err
	}
	lifetime, err := caddy.ParseDuration(text)
	if err != nil || lifetime <= 0 {
		return d.Errf("min_lifetime %q is not a positive duration, such as 72h", text)
	}
	l.MinLifetime = caddy.Duration(lifetime)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Dispatcher)(nil)

package letter

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers/internal/wording"
	"github.com/oob-dispatch/oob-dispatch/outbound"
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
	return outbound.UnmarshalBlock(&l.Options, d, l.option)
}

func (l *Dispatcher) option(d *caddyfile.Dispenser) error {
	texts := map[string]*string{
		"spool": &l.Spool, "printer": &l.Printer, "templates": &l.Templates, "sender": &l.Sender, "window": &l.Window,
	}
	word, args := d.Val(), d.RemainingArgs()
	text, isText := texts[word]
	switch {
	case word == "language":
		var err error
		l.Language, err = wording.ParseLanguage(d, args)
		return err
	case !isText && word != "max_spool" && word != "min_lifetime":
		return d.Errf("unrecognized option %q of letter", word)
	case len(args) != 1 || args[0] == "":
		return d.Errf("%s takes one value; put it in quotes if it holds spaces", word)
	case word == "max_spool":
		n, err := strconv.Atoi(args[0])
		if err != nil || n <= 0 {
			return d.Errf("max_spool %q is not a positive number of letters", args[0])
		}
		l.MaxSpool = n
		return nil
	case word == "min_lifetime":
		lifetime, err := caddy.ParseDuration(args[0])
		if err != nil || lifetime <= 0 {
			return d.Errf("min_lifetime %q is not a positive duration, such as 72h", args[0])
		}
		l.MinLifetime = caddy.Duration(lifetime)
		return nil
	}
	*text = args[0]
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Dispatcher)(nil)

package qrcode

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/qr"
)

func init() { caddy.RegisterModule(Dispatcher{}) }

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens. Colors are
// quoted, because # starts a comment. Syntax:
//
//	qr_code {
//		size   <pixels>
//		level  auto|L|M|Q|H
//		colors "<foreground>" "<background>"
//	}
func (q *Dispatcher) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // type
	if d.NextArg() {
		return d.Errf("unexpected argument %q: the options of qr_code stand in a block", d.Val())
	}
	for d.NextBlock(0) {
		if err := q.option(d); err != nil {
			return err
		}
	}
	return nil
}

func (q *Dispatcher) option(d *caddyfile.Dispenser) error {
	word, args := d.Val(), d.RemainingArgs()
	var options qr.Options
	switch {
	case word == "size" && len(args) == 1 && q.Size == 0:
		size, err := strconv.Atoi(args[0])
		if err != nil || size == 0 {
			return d.Errf("size %q is not a number of pixels", args[0])
		}
		q.Size, options.Size = size, size
	case word == "level" && len(args) == 1 && q.Level == "":
		q.Level, options.Level = qr.Level(args[0]), qr.Level(args[0])
	case word == "colors" && len(args) == 2 && args[0] != "" && args[1] != "" && q.Foreground == "":
		q.Foreground, q.Background = args[0], args[1]
		if err := setColors(&options, args[0], args[1]); err != nil {
			return d.WrapErr(err)
		}
	case word == "size" || word == "level":
		return d.Errf("%s takes one value and stands once", word)
	case word == "colors":
		return d.Err(`colors takes two quoted colors and stands once, such as: colors "#047d82" "#ffffff"`)
	default:
		return d.Errf("unrecognized option %q of qr_code", word)
	}
	if err := options.Validate(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Dispatcher)(nil)

package filesource

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
)

// UnmarshalCaddyfile sets up the source from Caddyfile tokens. Syntax:
//
//	file <path>
func (s *Source) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // type
	args := d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return d.Err("file takes one argument, the path of a file that caddy oob targets export wrote")
	}
	if err := placeholder.CheckPath("path", args[0]); err != nil {
		return d.WrapErr(err)
	}
	s.Path = args[0]
	for d.NextBlock(0) {
		return d.Errf("unrecognized option '%s': file has none", d.Val())
	}
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Source)(nil)

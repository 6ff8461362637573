// Package option reads options of a Caddyfile block.
package option

import "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

// Text reads the only argument of the option that the dispenser is at, which
// may stand once. The error is "<option> takes <what>"; it does not quote
// arguments, which may be secret.
func Text[T ~string](d *caddyfile.Dispenser, to *T, what string) error {
	name := d.Val()
	if *to != "" {
		return d.Errf("%s is given twice", name)
	}
	args := d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return d.Errf("%s takes %s", name, what)
	}
	*to = T(args[0])
	return nil
}

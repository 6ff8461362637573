// Package option reads options of a Caddyfile block.
package option

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/placeholder"
)

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

// Checked is Text for a value that check has to find right. Its errors name the
// option, and are given the line.
func Checked[T ~string](d *caddyfile.Dispenser, to *T, what string, check func(value string) error) error {
	if err := Text(d, to, what); err != nil {
		return err
	}
	if err := check(string(*to)); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// Path is Text for the path of a file.
func Path[T ~string](d *caddyfile.Dispenser, to *T, what string) error {
	name := d.Val()
	return Checked(d, to, what, func(path string) error { return placeholder.CheckPath(name, path) })
}

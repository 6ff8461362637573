package caddymodule

import (
	"fmt"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

// once finds options that are given twice.
type once map[string]bool

func (o once) mark(d *caddyfile.Dispenser, word string) error {
	if o[word] {
		return d.Errf("option %s is given twice", word)
	}
	o[word] = true
	return nil
}

func textOption(d *caddyfile.Dispenser, to *string) error {
	word := d.Val()
	if !d.Args(to) || *to == "" {
		return d.Errf("%s takes a value", word)
	}
	if d.NextArg() {
		return d.Errf("%s takes one value; quote it if it has spaces", word)
	}
	return nil
}

// checkedOption is textOption for a value that check has to find right. Its
// error names the option.
func checkedOption(d *caddyfile.Dispenser, to *string, check func(value string) error) error {
	if err := textOption(d, to); err != nil {
		return err
	}
	if err := check(*to); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func templateOption(d *caddyfile.Dispenser, to *dispatchers.Template) error {
	word := d.Val()
	var text string
	err := checkedOption(d, &text, func(text string) error {
		if err := dispatchers.Template(text).Check(); err != nil {
			return fmt.Errorf("%s: %w", word, err)
		}
		return nil
	})
	*to = dispatchers.Template(text)
	return err
}

func durationOption(d *caddyfile.Dispenser, to *caddy.Duration) error {
	word := d.Val()
	var text string
	if err := textOption(d, &text); err != nil {
		return err
	}
	duration, err := positiveDuration(d, word, text)
	*to = duration
	return err
}

func positiveDuration(d *caddyfile.Dispenser, word, text string) (caddy.Duration, error) {
	duration, err := caddy.ParseDuration(text)
	if err != nil || duration <= 0 {
		return 0, d.Errf("%s: %q is not a duration longer than zero, such as 5m", word, text)
	}
	return caddy.Duration(duration), nil
}

func sizeOption(d *caddyfile.Dispenser, to *int64) error {
	word := d.Val()
	var text string
	if err := textOption(d, &text); err != nil {
		return err
	}
	size, err := humanize.ParseBytes(text)
	if err != nil || size < minMaxBody || size > largestMaxBody {
		return d.Errf("%s: %q is not a size from 1KiB to 512KiB, such as 64KiB", word, text)
	}
	*to = int64(size)
	return nil
}

func numberOption(d *caddyfile.Dispenser, to *int, lowest, highest int) error {
	word := d.Val()
	var text string
	if err := textOption(d, &text); err != nil {
		return err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < lowest || n > highest {
		return d.Errf("%s %q is not a whole number from %d to %d", word, text, lowest, highest)
	}
	*to = n
	return nil
}

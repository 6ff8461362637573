// Package composite holds the dispatchers that are made of dispatchers:
// fallback, which tries one after the other, and fan_out, which uses several
// side by side.
package composite

import (
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
)

// members is the option with the names of the dispatchers that M uses.
func members[M any](name string, field func(*M) *[]string) conf.Option[M] {
	return conf.Repeated(name, func(m *M, d *caddyfile.Dispenser) error {
		names := d.RemainingArgs()
		if len(names) == 0 {
			return fmt.Errorf("%s takes the names of one or more dispatchers", name)
		}
		*field(m) = append(*field(m), names...)
		return nil
	}, func(m *M) error {
		return unique(name, *field(m))
	})
}

// unique fails where a word is repeated.
func unique[S ~string](option string, words []S) error {
	for i, word := range words {
		if slices.Contains(words[:i], word) {
			return fmt.Errorf("%s names %q twice; remove one", option, string(word))
		}
	}
	return nil
}

// needMembers fails where there are none.
func needMembers(option string, members []string) error {
	if len(members) == 0 {
		return conf.Errorf(option, "it names no dispatchers: add a line, such as: %s push mail", option)
	}
	return nil
}

// worst returns the failure that says most of several: the one to show where
// no member delivered. The operator's own trouble comes first, because the
// operator can mend it. What may be normal for a member comes last.
func worst(failures []*dispatchers.Error) *dispatchers.Error {
	order := []dispatchers.Class{
		dispatchers.Broken, dispatchers.Temporary, dispatchers.Refused,
		dispatchers.NoKey, dispatchers.Expired, dispatchers.NoTarget,
	}
	return slices.MinFunc(failures, func(a, b *dispatchers.Error) int {
		return slices.Index(order, a.Class) - slices.Index(order, b.Class)
	})
}

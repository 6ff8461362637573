package operate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Name tells one oob_dispatch handler of a configuration from the others.
type Name struct{ Namespace, BasePath string }

// Choice says which handler is meant.
type Choice struct {
	Namespace, BasePath *string // nil for any

	// How says how a choice is made, such as "--namespace or --base-path".
	How string
}

// Fits reports whether a handler may be the one that is meant.
func (c Choice) Fits(n Name) bool {
	return (c.Namespace == nil || *c.Namespace == n.Namespace) && (c.BasePath == nil || *c.BasePath == n.BasePath)
}

// Choose returns the handler that is meant. Where it makes no difference which one
// it is, as same tells, that is the first.
func Choose[H any](c Choice, all []H, name func(H) Name, same func(a, b H) bool) (chosen H, err error) {
	var fit []H
	for _, h := range all {
		if c.Fits(name(h)) && !slices.ContainsFunc(fit, func(other H) bool { return same(h, other) }) {
			fit = append(fit, h)
		}
	}
	switch {
	case len(all) == 0:
		return chosen, errors.New("the configuration has no oob_dispatch handler")
	case len(fit) == 0:
		return chosen, fmt.Errorf("no oob_dispatch handler has this namespace and base path; there are %s", list(all, name))
	case len(fit) > 1:
		return chosen, fmt.Errorf("several oob_dispatch handlers may be meant; choose one with %s: %s", c.How, list(fit, name))
	}
	return fit[0], nil
}

func list[H any](all []H, name func(H) Name) string {
	names := make([]string, 0, len(all))
	for _, h := range all {
		n := name(h)
		names = append(names, fmt.Sprintf("namespace %q with base_path %s", n.Namespace, n.BasePath))
	}
	return strings.Join(names, ", ")
}

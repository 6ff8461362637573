package composite

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
)

// Fallback tries dispatchers one after the other until one delivers. The
// answer names the one that did. Those that do not serve the operation are left
// out, and each gets an equal share of the time that is left until `deadline`,
// so that a first one that hangs leaves time for the next.
//
// Where one of them requires encryption none sends in clear.
type Fallback struct {
	// The names of the dispatchers, in order.
	Try []string `json:"try,omitempty"`

	// The outcomes after which the next one is tried: `expired`,
	// `no_target`, `no_key`, `refused`, `temporary`, `broken`. Default:
	// `expired`, `no_target`, `temporary` and `broken`
	On []dispatchers.Class `json:"on,omitempty"`
}

func init() { caddy.RegisterModule(Fallback{}) }

// CaddyModule returns the Caddy module information.
func (Fallback) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  dispatchers.Namespace + ".fallback",
		New: func() caddy.Module { return new(Fallback) },
	}
}

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens. Syntax:
//
//	fallback {
//		try <name…>
//		on  expired|no_target|no_key|refused|temporary|broken …
//	}
//
// try may repeat.
func (f *Fallback) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return fallbackOptions.Unmarshal(d, f)
}

var fallbackOptions = conf.Table[Fallback]{
	conf.MoreWords("try", func(f *Fallback) *[]string { return &f.Try }, nil),
	conf.Words("on", func(f *Fallback) *[]dispatchers.Class { return &f.On }, func(class string) error {
		if !dispatchers.Class(class).Valid() {
			return fmt.Errorf("there is no outcome %q: name expired, no_target, no_key, refused, temporary or broken", class)
		}
		return nil
	}),
}

// Check implements conf.Checker.
func (f *Fallback) Check() error {
	for i, class := range f.On {
		if slices.Contains(f.On[:i], class) {
			return conf.Errorf("on", "on: the outcome %s is named twice", class)
		}
	}
	return checkMembers("try", f.Try)
}

// Provision checks the options.
func (f *Fallback) Provision(ctx caddy.Context) error {
	if len(f.On) == 0 {
		f.On = []dispatchers.Class{dispatchers.Expired, dispatchers.NoTarget, dispatchers.Temporary, dispatchers.Broken}
	}
	return fallbackOptions.Provision(f, dispatchers.Logger(ctx))
}

// Members implements dispatchers.Composite.
func (f *Fallback) Members() []string { return f.Try }

// Compose implements dispatchers.Composite.
func (f *Fallback) Compose(ctx context.Context, m *dispatchers.Message, deliver dispatchers.Deliver) (dispatchers.Receipt, error) {
	members, err := serving(m, f.Try)
	if err != nil {
		return dispatchers.Receipt{}, err
	}
	var failures []*dispatchers.Error
	var rest rests // of members that are composites
	for i, name := range members {
		receipt, err := deliverWithin(ctx, len(members)-i, name, deliver)
		rest.add(receipt.Rest)
		if err == nil {
			receipt.Rest = rest.wait()
			return receipt, nil
		}
		failure := dispatchers.AsError(err)
		failures = append(failures, failure)
		if !slices.Contains(f.On, failure.Class) || ctx.Err() != nil {
			break
		}
		if i+1 < len(members) {
			tell(m, name, members[i+1], failure)
		}
	}
	return dispatchers.Receipt{Rest: rest.wait()}, worst(failures)
}

// deliverWithin gives a member an equal share of the time that is left for it
// and those after it: one that hangs must not use up all of it.
func deliverWithin(ctx context.Context, left int, name string, deliver dispatchers.Deliver) (dispatchers.Receipt, error) {
	deadline, ok := ctx.Deadline()
	if !ok || left == 1 {
		return deliver(ctx, name)
	}
	share, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
	receipt, err := deliver(share, name)
	receipt.After(cancel)
	return receipt, err
}

func tell(m *dispatchers.Message, from, to string, failure *dispatchers.Error) {
	if m.FellBack != nil {
		m.FellBack(from, to, failure)
	}
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Fallback)(nil)
	_ dispatchers.Composite = (*Fallback)(nil)
	_ conf.Checker          = (*Fallback)(nil)
	_ caddyfile.Unmarshaler = (*Fallback)(nil)
)

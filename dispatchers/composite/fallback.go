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

var fallbackOptions = conf.Table[Fallback]{
	members("try", func(f *Fallback) *[]string { return &f.Try }),
	conf.Words("on", func(f *Fallback) *[]dispatchers.Class { return &f.On }, validClass),
}

func validClass(word string) error {
	if !dispatchers.Class(word).Valid() {
		return fmt.Errorf("%q is not an outcome: name expired, no_target, no_key, refused, temporary or broken", word)
	}
	return nil
}

// Check implements conf.Checker.
func (f *Fallback) Check() error {
	if err := unique("on", f.On); err != nil {
		return &conf.Error{Option: "on", Err: err}
	}
	return needMembers("try", f.Try)
}

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens.
func (f *Fallback) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return fallbackOptions.Unmarshal(d, f)
}

// Provision checks the options.
func (f *Fallback) Provision(ctx caddy.Context) error {
	if err := fallbackOptions.Provision(f, ctx.Slogger()); err != nil {
		return err
	}
	if len(f.On) == 0 {
		f.On = []dispatchers.Class{dispatchers.Expired, dispatchers.NoTarget, dispatchers.Temporary, dispatchers.Broken}
	}
	return nil
}

// Members implements dispatchers.Composite.
func (f *Fallback) Members() []string { return f.Try }

// Compose implements dispatchers.Composite.
func (f *Fallback) Compose(ctx context.Context, d dispatchers.Delivery) (dispatchers.Receipt, error) {
	var failures []*dispatchers.Error
	var rest []func() // of members that are composites
	for i, member := range d.Members {
		receipt, err := deliverWithin(ctx, len(d.Members)-i, member)
		if receipt.Rest != nil {
			rest = append(rest, receipt.Rest)
		}
		if err == nil {
			receipt.Rest = waitFor(rest)
			return receipt, nil
		}
		failure := dispatchers.AsError(err)
		failures = append(failures, failure)
		if !slices.Contains(f.On, failure.Class) || ctx.Err() != nil {
			break
		}
		if i+1 < len(d.Members) {
			d.FellBack(member, d.Members[i+1], failure)
		}
	}
	return dispatchers.Receipt{Rest: waitFor(rest)}, worst(failures)
}

// deliverWithin gives a member an equal share of the time that is left for it
// and those after it: one that hangs must not use up all of it.
func deliverWithin(ctx context.Context, left int, member dispatchers.Member) (dispatchers.Receipt, error) {
	deadline, ok := ctx.Deadline()
	if !ok || left == 1 {
		return member.Deliver(ctx)
	}
	share, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
	receipt, err := member.Deliver(share)
	receipt.After(cancel)
	return receipt, err
}

// waitFor returns what waits for all of the given; nil for nothing.
func waitFor(rest []func()) func() {
	if len(rest) == 0 {
		return nil
	}
	return func() {
		for _, wait := range rest {
			wait()
		}
	}
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Fallback)(nil)
	_ dispatchers.Composite = (*Fallback)(nil)
	_ caddyfile.Unmarshaler = (*Fallback)(nil)
	_ conf.Checker          = (*Fallback)(nil)
)

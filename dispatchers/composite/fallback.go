package composite

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
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

// Provision checks the options.
func (f *Fallback) Provision(caddy.Context) error {
	if err := f.CheckOptions(); err != nil {
		return err
	}
	if len(f.On) == 0 {
		f.On = []dispatchers.Class{dispatchers.Expired, dispatchers.NoTarget, dispatchers.Temporary, dispatchers.Broken}
	}
	return nil
}

// CheckOptions implements dispatchers.OptionChecker.
func (f *Fallback) CheckOptions() error {
	for _, class := range f.On {
		if !class.Valid() {
			return fmt.Errorf("on: there is no outcome %q", class)
		}
	}
	return checkMembers("try", f.Try)
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

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens. Syntax:
//
//	fallback {
//		try <name…>
//		on  expired|no_target|no_key|refused|temporary|broken …
//	}
func (f *Fallback) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := start(d); err != nil {
		return err
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "try":
			if err := memberOption(d, &f.Try); err != nil {
				return err
			}
		case "on":
			if err := f.onOption(d); err != nil {
				return err
			}
		default:
			return d.Errf("unrecognized option %q of fallback", d.Val())
		}
	}
	if len(f.Try) == 0 {
		return d.Err("fallback names no dispatchers: add a line, such as: try push mail")
	}
	return nil
}

func (f *Fallback) onOption(d *caddyfile.Dispenser) error {
	if f.On != nil {
		return d.Err("on stands once, with all outcomes")
	}
	for _, word := range d.RemainingArgs() {
		class := dispatchers.Class(word)
		if !class.Valid() {
			return d.Errf("on: there is no outcome %q: name expired, no_target, no_key, refused, temporary or broken", word)
		}
		if slices.Contains(f.On, class) {
			return d.Errf("on: the outcome %s is named twice", word)
		}
		f.On = append(f.On, class)
	}
	if f.On == nil {
		return d.Err("on takes one or more outcomes, such as: on expired temporary")
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner         = (*Fallback)(nil)
	_ dispatchers.Composite     = (*Fallback)(nil)
	_ dispatchers.OptionChecker = (*Fallback)(nil)
	_ caddyfile.Unmarshaler     = (*Fallback)(nil)
)

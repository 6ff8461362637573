package composite

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

// FanOut sends one message, with one token and one session, over several
// dispatchers side by side. The caller gets the response of each that
// delivered, by name, and the name of this dispatcher. Those that do not serve
// the operation are left out.
//
// Where one of them requires encryption none sends in clear.
type FanOut struct {
	// The names of the dispatchers.
	To []string `json:"to,omitempty"`

	// When it counts as delivered. `first`: as soon as one has delivered;
	// the others go on in the background. `any`: when all have ended and
	// one of them delivered. `all`: when all have delivered. Default: `any`
	Succeed Rule `json:"succeed,omitempty"`
}

// Rule says when a fan-out counts as delivered.
type Rule string

// The rules of a fan-out.
const (
	First Rule = "first"
	Any   Rule = "any"
	All   Rule = "all"
)

func init() { caddy.RegisterModule(FanOut{}) }

// CaddyModule returns the Caddy module information.
func (FanOut) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  dispatchers.Namespace + ".fan_out",
		New: func() caddy.Module { return new(FanOut) },
	}
}

// Provision checks the options.
func (f *FanOut) Provision(caddy.Context) error {
	if err := f.CheckOptions(); err != nil {
		return err
	}
	f.Succeed = cmp.Or(f.Succeed, Any)
	return nil
}

// CheckOptions implements dispatchers.OptionChecker.
func (f *FanOut) CheckOptions() error {
	switch f.Succeed {
	case "", First, Any, All:
	default:
		return fmt.Errorf("succeed %q: it is first, any or all", f.Succeed)
	}
	return checkMembers("to", f.To)
}

// Members implements dispatchers.Composite.
func (f *FanOut) Members() []string { return f.To }

type ended struct {
	member  string
	receipt dispatchers.Receipt
	err     error
}

// Compose implements dispatchers.Composite.
func (f *FanOut) Compose(ctx context.Context, m *dispatchers.Message, deliver dispatchers.Deliver) (dispatchers.Receipt, error) {
	members, err := serving(m, f.To)
	if err != nil {
		return dispatchers.Receipt{}, err
	}
	ends := make(chan ended, len(members)) // so that none waits for a reader
	var rest sync.WaitGroup
	for _, member := range members {
		rest.Go(func() {
			receipt, err := deliver(ctx, member)
			ends <- ended{member, receipt, err}
			if receipt.Rest != nil {
				receipt.Rest()
			}
		})
	}
	responses := make(map[string]any)
	var failures []*dispatchers.Error
	for range members {
		end := <-ends
		if end.err != nil {
			failures = append(failures, dispatchers.AsError(end.err))
			continue
		}
		responses[end.member] = end.receipt.Response
		if f.Succeed == First {
			break
		}
	}
	if len(responses) == 0 || f.Succeed == All && len(failures) > 0 {
		return dispatchers.Receipt{Rest: rest.Wait}, worst(failures)
	}
	return dispatchers.Receipt{Response: responses, Dispatcher: m.Dispatcher, Rest: rest.Wait}, nil
}

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens. Syntax:
//
//	fan_out {
//		to      <name…>
//		succeed first|any|all
//	}
func (f *FanOut) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := start(d); err != nil {
		return err
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "to":
			if err := memberOption(d, &f.To); err != nil {
				return err
			}
		case "succeed":
			var rule string
			if f.Succeed != "" || !d.Args(&rule) || d.NextArg() {
				return d.Err("succeed stands once, with first, any or all")
			}
			switch f.Succeed = Rule(rule); f.Succeed {
			case First, Any, All:
			default:
				return d.Errf("succeed %q: it is first, any or all", rule)
			}
		default:
			return d.Errf("unrecognized option %q of fan_out", d.Val())
		}
	}
	if len(f.To) == 0 {
		return d.Err("fan_out names no dispatchers: add a line, such as: to push mail")
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner         = (*FanOut)(nil)
	_ dispatchers.Composite     = (*FanOut)(nil)
	_ dispatchers.OptionChecker = (*FanOut)(nil)
	_ caddyfile.Unmarshaler     = (*FanOut)(nil)
)

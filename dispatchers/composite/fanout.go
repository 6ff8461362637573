package composite

import (
	"cmp"
	"context"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/conf"
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

var fanOutOptions = conf.Table[FanOut]{
	members("to", func(f *FanOut) *[]string { return &f.To }),
	conf.OneOf("succeed", func(f *FanOut) *Rule { return &f.Succeed }, First, Any, All),
}

// Check implements conf.Checker.
func (f *FanOut) Check() error { return needMembers("to", f.To) }

// UnmarshalCaddyfile sets up the dispatcher from Caddyfile tokens.
func (f *FanOut) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return fanOutOptions.Unmarshal(d, f)
}

// Provision checks the options.
func (f *FanOut) Provision(ctx caddy.Context) error {
	if err := fanOutOptions.Provision(f, ctx.Slogger()); err != nil {
		return err
	}
	f.Succeed = cmp.Or(f.Succeed, Any)
	return nil
}

// Members implements dispatchers.Composite.
func (f *FanOut) Members() []string { return f.To }

type ended struct {
	member  string
	receipt dispatchers.Receipt
	err     error
}

// Compose implements dispatchers.Composite.
func (f *FanOut) Compose(ctx context.Context, d dispatchers.Delivery) (dispatchers.Receipt, error) {
	ends := make(chan ended, len(d.Members)) // so that none waits for a reader
	var rest sync.WaitGroup
	for _, member := range d.Members {
		rest.Go(func() {
			receipt, err := member.Deliver(ctx)
			ends <- ended{member.Name, receipt, err}
			if receipt.Rest != nil {
				receipt.Rest()
			}
		})
	}
	responses := make(map[string]any)
	var failures []*dispatchers.Error
	for range d.Members {
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
	return dispatchers.Receipt{Response: responses, Rest: rest.Wait}, nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*FanOut)(nil)
	_ dispatchers.Composite = (*FanOut)(nil)
	_ caddyfile.Unmarshaler = (*FanOut)(nil)
	_ conf.Checker          = (*FanOut)(nil)
)

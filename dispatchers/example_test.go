package dispatchers_test

import (
	"context"
	"fmt"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

// Console is a dispatcher that prints its messages. As a guest module it also
// has a CaddyModule method and is registered with caddy.RegisterModule.
type Console struct{}

// Traits says that the channel can do without an address.
func (Console) Traits() dispatchers.Traits { return dispatchers.Traits{AddressOptional: true} }

// Dispatch makes one attempt.
func (Console) Dispatch(_ context.Context, m *dispatchers.Message) (dispatchers.Receipt, error) {
	if m.Link == "" {
		return dispatchers.Receipt{}, dispatchers.Fail(dispatchers.Broken, "base_url", "configure base_url of dispatcher %q", m.Dispatcher)
	}
	fmt.Println(m.Expand("{oob.notification.title}: {oob.link}", nil))
	return dispatchers.Receipt{Response: dispatchers.SuccessfulDispatch}, nil
}

func ExampleDispatcher() {
	var console dispatchers.Dispatcher = Console{}
	message := &dispatchers.Message{Dispatcher: "console", Link: "https://app.example.com/open", Lookup: func(name string) (string, bool) {
		value, ok := map[string]string{"oob.notification.title": "Log in?", "oob.link": "https://app.example.com/open"}[name]
		return value, ok
	}}
	receipt, err := console.Dispatch(context.Background(), message)
	fmt.Println(receipt.Response, err)

	_, err = console.Dispatch(context.Background(), &dispatchers.Message{Dispatcher: "console"})
	fmt.Println(dispatchers.AsError(err).Class)
	// Output:
	// Log in?: https://app.example.com/open
	// successful dispatch <nil>
	// broken
}

// Second is a composite that goes on to a second dispatcher where the first
// cannot reach the target.
type Second struct{ First, Then string }

// Members returns the dispatchers that it uses.
func (s Second) Members() []string { return []string{s.First, s.Then} }

// Compose delivers by way of the members.
func (s Second) Compose(ctx context.Context, d dispatchers.Delivery) (dispatchers.Receipt, error) {
	receipt, err := d.Members[0].Deliver(ctx)
	if err == nil || len(d.Members) == 1 { // the other does not serve the operation
		return receipt, err
	}
	failure := dispatchers.AsError(err)
	if failure.Class != dispatchers.NoTarget {
		return receipt, failure
	}
	d.FellBack(d.Members[0], d.Members[1], failure)
	return d.Members[1].Deliver(ctx)
}

func ExampleComposite() {
	var second dispatchers.Composite = Second{"push", "mail"}
	receipt, err := second.Compose(context.Background(), dispatchers.Delivery{
		Members: []dispatchers.Member{
			{Name: "push", Deliver: func(context.Context) (dispatchers.Receipt, error) {
				return dispatchers.Receipt{}, dispatchers.Fail(dispatchers.NoTarget, "no_address", "the target has no push address")
			}},
			{Name: "mail", Deliver: func(context.Context) (dispatchers.Receipt, error) {
				return dispatchers.Receipt{Dispatcher: "mail"}, nil
			}},
		},
		FellBack: func(from, to dispatchers.Member, failure *dispatchers.Error) {
			fmt.Println(from.Name, "to", to.Name, "because of", failure.Reason)
		},
	})
	fmt.Println("delivered by", receipt.Dispatcher, err)
	// Output:
	// push to mail because of no_address
	// delivered by mail <nil>
}

package exchange

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// A composite that uses its members as a function says.
type composite struct {
	members []string
	compose func(ctx context.Context, d dispatchers.Delivery) (dispatchers.Receipt, error)
}

func (c composite) Members() []string { return c.members }

func (c composite) Compose(ctx context.Context, d dispatchers.Delivery) (dispatchers.Receipt, error) {
	return c.compose(ctx, d)
}

// firstOf tries its members in order.
func firstOf(members ...string) composite {
	return composite{members, func(ctx context.Context, d dispatchers.Delivery) (receipt dispatchers.Receipt, err error) {
		for _, member := range d.Members {
			if receipt, err = member.Deliver(ctx); err == nil {
				return receipt, nil
			}
		}
		return receipt, err
	}}
}

// allOf delivers to its members side by side.
func allOf(members ...string) composite {
	return composite{members, func(ctx context.Context, d dispatchers.Delivery) (dispatchers.Receipt, error) {
		responses := make(map[string]any)
		var failures []error
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, member := range d.Members {
			wg.Go(func() {
				receipt, err := member.Deliver(ctx)
				mu.Lock()
				defer mu.Unlock()
				responses[member.Name] = receipt.Response
				failures = append(failures, err)
			})
		}
		wg.Wait()
		return dispatchers.Receipt{Response: responses}, errors.Join(failures...)
	}}
}

// deliver delivers to the member with a name.
func deliver(ctx context.Context, d dispatchers.Delivery, name string) (dispatchers.Receipt, error) {
	for _, member := range d.Members {
		if member.Name == name {
			return member.Deliver(ctx)
		}
	}
	return dispatchers.Receipt{}, errors.New("there is no such member")
}

func (h *harness) compose(name string, c composite) *Channel {
	channel := &Channel{Name: name, Type: "composite", Composite: c, Slots: make(chan struct{}, 64)}
	h.Channels[name] = channel
	return channel
}

// A member that has no address makes no attempt.
func TestLogCountsTheAttemptsThatWereMade(t *testing.T) {
	h := newHarness(t)
	h.push()
	h.add(Channel{Name: "mail", Type: "smtp"})
	h.compose("either", firstOf("mail", "push"))
	h.dispatch("either").wantResult(t, nevisfido.Dispatched)
	h.wantLog(`"dispatched"`, `"attempts":1,`)
}

func TestBind(t *testing.T) {
	leaf := func(p Policy) *Channel { return &Channel{Encryption: p} }
	of := func(members ...string) *Channel { return &Channel{Composite: firstOf(members...)} }
	sealing := of("clear")
	sealing.Encryption = Required
	for name, c := range map[string]struct {
		channels map[string]*Channel
		want     string // part of the error, "" for none
	}{
		"leaves":                         {map[string]*Channel{"a": leaf(Required), "b": leaf(Off)}, ""},
		"composite":                      {map[string]*Channel{"a": leaf(Required), "b": leaf(Preferred), "c": of("a", "b")}, ""},
		"all in clear":                   {map[string]*Channel{"a": leaf(Off), "b": leaf(Preferred), "c": of("a", "b")}, ""},
		"nested":                         {map[string]*Channel{"a": leaf(Required), "c": of("a", "d"), "d": of("a")}, ""},
		"unknown member":                 {map[string]*Channel{"a": leaf(Required), "c": of("a", "x")}, `"c" names the dispatcher "x"`},
		"unknown member, below":          {map[string]*Channel{"c": of("d"), "d": of("x")}, `"d" names the dispatcher "x"`},
		"no members":                     {map[string]*Channel{"c": of()}, "names no other dispatchers"},
		"itself":                         {map[string]*Channel{"a": leaf(Required), "c": of("a", "c")}, "contains itself"},
		"a cycle":                        {map[string]*Channel{"c": of("d"), "d": of("e"), "e": of("c")}, "contains itself"},
		"a cycle from outside":           {map[string]*Channel{"b": of("c"), "c": of("c")}, "contains itself"},
		"clear beside required":          {map[string]*Channel{"a": leaf(Required), "b": leaf(Off), "c": of("a", "b")}, `"b" in it has encryption off`},
		"clear beside required, below":   {map[string]*Channel{"a": leaf(Required), "b": leaf(Off), "c": of("b", "d"), "d": of("a")}, `"b" in it has encryption off`},
		"clear in one that has to seal":  {map[string]*Channel{"clear": leaf(Off), "c": sealing}, `"clear" in it has encryption off`},
		"clear beside one that seals":    {map[string]*Channel{"clear": leaf(Off), "c": of("clear", "d"), "d": sealing}, `"clear" in it has encryption off`},
		"twice the same is not a cycle":  {map[string]*Channel{"a": leaf(Required), "c": of("d", "e"), "d": of("a"), "e": of("a")}, ""},
		"preferred beside clear is fine": {map[string]*Channel{"a": leaf(Preferred), "b": leaf(Off), "c": of("a", "b")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for name, channel := range c.channels {
				channel.Name = name
			}
			err := delivery.Bind(c.channels)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestCompositeNamesTheMember(t *testing.T) {
	for name, c := range map[string]struct {
		composite      composite
		want, response string
	}{
		"the first":   {firstOf("link", "push"), "link", `"successful dispatch"`},
		"the second":  {firstOf("bad", "push"), "push", `"successful dispatch"`},
		"nested":      {firstOf("bad", "inner"), "push", `"successful dispatch"`},
		"all of them": {allOf("link", "push"), "c", `{"link":"successful dispatch","push":"successful dispatch"}`},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.push()
			h.link(Preferred)
			h.add(Channel{Name: "bad", Address: "x"}).fails(dispatchers.Refused)
			h.compose("inner", firstOf("bad", "push"))
			h.compose("c", c.composite)
			a := h.dispatch("c")
			a.wantResult(t, nevisfido.Dispatched)
			if info := a.outcome(t).Information; info.Name != c.want || string(info.Response) != c.response {
				t.Errorf("got %s %s", info.Name, info.Response)
			}
			if record := h.seen.one(t); record.Dispatcher != "c" || record.Delivered != c.want {
				t.Errorf("the observer was told %q, %q", record.Dispatcher, record.Delivered)
			}
		})
	}
}

func TestCompositeFails(t *testing.T) {
	h := newHarness(t)
	h.push().fails(dispatchers.Temporary)
	h.add(Channel{Name: "mail", Type: "smtp"})
	h.compose("c", firstOf("push", "mail"))
	a := h.dispatch("c")
	a.wantResult(t, nevisfido.DispatchTargetNotFound) // as the last member says
	if name := a.outcome(t).Information.Name; name != "c" {
		t.Errorf("name %q", name)
	}
	for name, compose := range map[string]func(context.Context, dispatchers.Delivery) (dispatchers.Receipt, error){
		"an error of no class": func(context.Context, dispatchers.Delivery) (dispatchers.Receipt, error) {
			return dispatchers.Receipt{}, errors.New("x")
		},
		"panics": func(context.Context, dispatchers.Delivery) (dispatchers.Receipt, error) { panic("x") },
		"a nil *Error": func(context.Context, dispatchers.Delivery) (dispatchers.Receipt, error) {
			var failure *dispatchers.Error
			return dispatchers.Receipt{}, failure
		},
	} {
		t.Run(name, func(t *testing.T) {
			h.compose("c", composite{[]string{"push"}, compose})
			h.dispatch("c").wantResult(t, nevisfido.InternalError)
		})
	}
}

// The message is sealed once, and every member gets the same.
func TestSealedOnceForAllMembers(t *testing.T) {
	h := newHarness(t)
	members := []*guest{h.push(), h.link(Required), h.add(Channel{Name: "hook", Traits: dispatchers.Traits{AddressOptional: true}})}
	h.compose("c", allOf("push", "link", "hook"))
	h.dispatch("c").wantResult(t, nevisfido.Dispatched)
	first := members[0].one(t)
	for _, g := range members {
		m := g.one(t)
		if string(m.Envelope.JSON()) != string(first.Envelope.JSON()) || m.ID != first.ID {
			t.Errorf("%s got another message", m.Dispatcher)
		}
		if open(t, h.device, m).Token != h.token {
			t.Errorf("%s: the device reads another token", m.Dispatcher)
		}
	}
	if first.Address != h.pushToken || members[1].one(t).Address != "" {
		t.Error("a member got the address of another")
	}
}

// What one member must encrypt, no other may send in clear.
func TestPreferredBesideRequired(t *testing.T) {
	for name, set := range map[string]func(*harness){
		"beside":        func(h *harness) { h.compose("c", firstOf("push", "link")) },
		"the other way": func(h *harness) { h.compose("c", firstOf("link", "push")) },
		"below": func(h *harness) {
			h.compose("inner", firstOf("link"))
			h.compose("c", firstOf("push", "inner"))
		},
		"below another": func(h *harness) {
			h.compose("inner", firstOf("push"))
			h.compose("c", firstOf("link", "inner"))
		},
		"the composite itself": func(h *harness) { h.compose("c", firstOf("link")).Encryption = Required },
		"a composite below": func(h *harness) {
			h.compose("inner", firstOf("link")).Encryption = Required
			h.compose("c", firstOf("inner"))
		},
		"beside a composite that has to": func(h *harness) {
			h.compose("inner", firstOf("link")).Encryption = Required
			h.compose("c", firstOf("link", "inner"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.register("push", nil) // no key
			guests := []*guest{h.push(), h.link(Preferred)}
			set(h)
			if err := delivery.Bind(h.Channels); err != nil {
				t.Fatal(err)
			}
			h.dispatch("c").wantResult(t, nevisfido.DispatchError)
			for _, g := range guests {
				if len(g.messages()) != 0 {
					t.Error("a member was called")
				}
			}
		})
	}
}

// Of what left sealed and in clear, the observer is told the worst.
func TestClearBesideSealed(t *testing.T) {
	for _, members := range [][]string{{"clear", "link"}, {"link", "clear"}} {
		h := newHarness(t)
		h.link(Preferred)
		h.add(Channel{Name: "clear", Encryption: Off, Traits: dispatchers.Traits{AnswersCaller: true}})
		h.compose("c", composite{members, func(ctx context.Context, d dispatchers.Delivery) (dispatchers.Receipt, error) {
			for _, name := range members {
				if _, err := deliver(ctx, d, name); err != nil {
					return dispatchers.Receipt{}, err
				}
			}
			return dispatchers.Receipt{}, nil
		}})
		h.dispatch("c").wantResult(t, nevisfido.Dispatched)
		if record := h.seen.one(t); record.Encryption != "clear" || record.Alg == "" {
			t.Errorf("%v: the observer was told %q", members, record.Encryption)
		}
	}
}

func TestPreferredAlone(t *testing.T) {
	h := newHarness(t)
	h.register("push", nil)
	g := h.link(Preferred)
	h.compose("c", firstOf("link"))
	h.dispatch("c").wantResult(t, nevisfido.Dispatched)
	if g.one(t).Envelope.ContentType != nevisfido.ContentTypePlain {
		t.Error("a message without a key was sealed")
	}
}

// Limits, operations and places of a member hold inside a composite as well:
// the composite is no way round them.
func TestMembersKeepTheirGuards(t *testing.T) {
	for name, set := range map[string]func(*Channel){
		"limits": func(c *Channel) {
			c.Limits = []dispatchers.Limit{{Scope: dispatchers.PerTarget, N: 1, Window: time.Hour}}
		},
		"places":     func(c *Channel) { c.Slots = make(chan struct{}) },
		"operations": func(c *Channel) { c.Operations = []nevisfido.Operation{nevisfido.Registration} },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			letter := h.add(Channel{Name: "letter", Address: "Main Street 1"})
			set(h.Channels["letter"])
			h.compose("c", firstOf("letter"))
			h.dispatch("c")
			h.dispatch("c").wantResult(t, nevisfido.DispatchError)
			h.dispatch("letter").wantResult(t, nevisfido.DispatchError)
			if got := len(letter.messages()); got > 1 || got == 1 && name != "limits" {
				t.Errorf("%d letters", got)
			}
		})
	}
}

func TestMemberThatExpires(t *testing.T) {
	h := newHarness(t)
	push := h.push()
	push.fails(dispatchers.Expired)
	h.link(Required)
	h.compose("c", firstOf("push", "link"))
	h.dispatch("c").wantResult(t, nevisfido.Dispatched)
	if h.record().State() != targets.Expired {
		t.Error("the target whose app is gone is not in quarantine")
	}
	classes := make([]dispatchers.Class, 0, 2)
	for _, attempt := range h.seen.one(t).Attempts {
		classes = append(classes, attempt.Class)
	}
	if !slices.Equal(classes, []dispatchers.Class{dispatchers.Expired, dispatchers.Delivered}) {
		t.Errorf("attempts %v", classes)
	}
	h.dispatch("c").wantResult(t, nevisfido.Dispatched)
	if n := len(push.messages()); n != 1 {
		t.Errorf("%d messages to an address that is gone", n)
	}
}

// A panic in a goroutine of the composite would end the process.
func TestMemberThatPanicsSideBySide(t *testing.T) {
	h := newHarness(t)
	h.push().do = panics("x")
	h.add(Channel{Name: "sms", Address: "{number}"})
	h.Lookup = func(*http.Request, string) (string, bool) { panic("x") }
	h.compose("c", allOf("push", "sms"))
	h.dispatch("c").wantResult(t, nevisfido.InternalError)
}

func TestFallbacksAreObserved(t *testing.T) {
	h := newHarness(t)
	h.push().fails(dispatchers.Temporary)
	h.link(Required)
	h.compose("both", composite{[]string{"push", "link"}, func(ctx context.Context, d dispatchers.Delivery) (dispatchers.Receipt, error) {
		_, err := d.Members[0].Deliver(ctx)
		d.FellBack(d.Members[0], d.Members[1], dispatchers.AsError(err))
		return d.Members[1].Deliver(ctx)
	}})
	h.dispatch("both").wantResult(t, nevisfido.Dispatched)
	want := []delivery.Fallback{{From: "push", To: "link", Reason: "scripted"}}
	if record := h.seen.one(t); !slices.Equal(record.Fallbacks, want) {
		t.Errorf("on record: %+v", record.Fallbacks)
	}
}

func TestEveryMembersOutcomeIsOnRecord(t *testing.T) {
	h := newHarness(t)
	h.push()
	h.add(Channel{Name: "mail", Type: "smtp"})
	h.Channels["all"] = &Channel{Name: "all", Slots: make(chan struct{}, 1), Composite: firstOf("busy", "mail", "push")}
	h.add(Channel{Name: "busy", Address: "x"})
	h.Channels["busy"].Slots = make(chan struct{})
	h.dispatch("all").wantResult(t, nevisfido.Dispatched)
	attempts := h.seen.one(t).Attempts
	if len(attempts) == 0 || attempts[0].Dispatcher != "busy" || attempts[0].Class != dispatchers.Refused || attempts[0].Made {
		t.Fatalf("on record: %+v", attempts)
	}
	attempts = attempts[1:]
	if len(attempts) != 2 || attempts[0].Dispatcher != "mail" || attempts[0].Class != dispatchers.NoTarget || attempts[0].Made || attempts[1].Class != dispatchers.Delivered || !attempts[1].Made {
		t.Errorf("on record: %+v", attempts)
	}
}

// What ends after the caller has its answer is on record as well, and a server
// that is about to exit can wait for it.
func TestLateMembersAreOnRecord(t *testing.T) {
	h := newHarness(t)
	h.link(Required)
	answered := make(chan struct{})
	h.push().do = func(ctx context.Context, _ *dispatchers.Message) (dispatchers.Receipt, error) {
		<-answered
		return dispatchers.Receipt{}, ctx.Err()
	}
	h.compose("c", composite{[]string{"link", "push"}, func(ctx context.Context, d dispatchers.Delivery) (dispatchers.Receipt, error) {
		var rest sync.WaitGroup
		rest.Go(func() { _, _ = deliver(ctx, d, "push") })
		receipt, err := deliver(ctx, d, "link")
		receipt.Rest = rest.Wait
		return receipt, err
	}})
	h.dispatch("c").wantResult(t, nevisfido.Dispatched)
	close(answered)
	h.Wait()
	record := h.seen.one(t)
	got := make(map[string]dispatchers.Class)
	for _, attempt := range record.Attempts {
		got[attempt.Dispatcher] = attempt.Class
	}
	if len(got) != 2 || got["link"] != dispatchers.Delivered || got["push"] != dispatchers.Delivered || record.Result != nevisfido.Dispatched {
		t.Errorf("on record: %+v", record)
	}
}

// That holds where the composite fails, too, and for what observe foresees.
func TestLateMembersOfAFailureAreOnRecord(t *testing.T) {
	for _, observe := range []bool{false, true} {
		h := newHarness(t)
		h.ObserveOnly = observe
		h.link(Required)
		waiting := make(chan struct{})
		h.compose("c", composite{[]string{"link"}, func(ctx context.Context, d dispatchers.Delivery) (dispatchers.Receipt, error) {
			var rest sync.WaitGroup
			rest.Go(func() {
				<-waiting
				_, _ = deliver(ctx, d, "link")
			})
			wait := func() {
				close(waiting)
				rest.Wait()
			}
			return dispatchers.Receipt{Rest: wait}, dispatchers.Fail(dispatchers.Temporary, "scripted", "scripted")
		}})
		h.dispatch("c")
		h.Wait()
		record := h.seen.one(t)
		if record.Encryption != "sealed" || record.Class != dispatchers.Temporary {
			t.Errorf("observe %t, on record: %+v", observe, record)
		}
	}
}

// A composite none of whose members serves the operation is refused before
// nevisFIDO makes a token; one that has such a member is told of it.
func TestOperationsOfMembers(t *testing.T) {
	h := newHarness(t)
	h.push()
	h.add(Channel{Name: "letter", Address: "Main Street 1", Operations: []nevisfido.Operation{nevisfido.Registration}})
	h.compose("inner", firstOf("letter"))
	h.compose("outer", firstOf("letter", "inner"))
	h.dispatch("outer").wantResult(t, nevisfido.DispatchError)
	if n := len(h.upstream.calls()); n != 0 || h.seen.one(t).Reason != "operation" {
		t.Errorf("forwarded %d times; on record: %+v", n, h.seen.one(t))
	}
	h = newHarness(t)
	h.push()
	h.add(Channel{Name: "letter", Address: "Main Street 1", Operations: []nevisfido.Operation{nevisfido.Registration}})
	h.compose("inner", firstOf("letter"))
	var serving []string
	h.compose("c", composite{[]string{"push", "letter", "inner"}, func(ctx context.Context, d dispatchers.Delivery) (dispatchers.Receipt, error) {
		for _, member := range d.Members {
			serving = append(serving, member.Name)
		}
		return deliver(ctx, d, "push")
	}})
	h.dispatch("c").wantResult(t, nevisfido.Dispatched)
	if !slices.Equal(serving, []string{"push"}) {
		t.Errorf("serving: %q", serving)
	}
}

// A source of users that hangs takes no more of the time than the member's
// share, and is asked again by the next.
func TestUserLookupKeepsToTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.Deadline = 8 * time.Second
		asked := 0
		h.User = func(ctx context.Context, _ string) (*targets.User, error) {
			asked++
			<-ctx.Done()
			return nil, ctx.Err()
		}
		h.add(Channel{Name: "mail", Type: "smtp", Address: "{oob.user.email}"})
		h.add(Channel{Name: "sms", Type: "webhook", Address: "{oob.user.mobile}"})
		h.link(Required)
		h.compose("c", composite{[]string{"mail", "sms", "link"}, func(ctx context.Context, d dispatchers.Delivery) (dispatchers.Receipt, error) {
			for _, name := range []string{"mail", "sms"} {
				share, cancel := context.WithTimeout(ctx, time.Second)
				if _, err := deliver(share, d, name); err == nil {
					t.Errorf("%s delivered to nobody", name)
				}
				cancel()
			}
			return deliver(ctx, d, "link")
		}})
		start := time.Now()
		h.dispatch("c").wantResult(t, nevisfido.Dispatched)
		if took := time.Since(start); took != 2*time.Second || asked != 2 {
			t.Errorf("asked %d times in %s", asked, took)
		}
	})
}

package exchange

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

func TestOperations(t *testing.T) {
	h := newHarness(t)
	g := h.push()
	h.Channels["push"].Operations = []nevisfido.Operation{nevisfido.Authentication, nevisfido.Deregistration}
	for _, op := range nevisfido.Operations() {
		want := nevisfido.Dispatched
		if op == nevisfido.Registration {
			want = nevisfido.DispatchError
		}
		a := h.send(newRequest(t, http.MethodPost, "/nevisfido/token/dispatch/"+string(op), h.body("push")))
		a.wantResult(t, want)
		if name := a.outcome(t).Information.Name; name != "push" {
			t.Errorf("%s: name %q", op, name)
		}
	}
	if len(h.upstream.calls()) != 2 || len(g.messages()) != 2 {
		t.Errorf("%d forwarded, %d delivered", len(h.upstream.calls()), len(g.messages()))
	}
	h.wantLog(`"reason":"operation"`, "option operations")
}

// T27, T28: what is over a limit reaches neither nevisFIDO nor the user.
func TestLimits(t *testing.T) {
	limit := func(scope dispatchers.Scope, n int, window time.Duration) []dispatchers.Limit {
		return []dispatchers.Limit{{Scope: scope, N: n, Window: window}}
	}
	type call struct {
		dispatcher, target, user, client string
		after                            time.Duration // since the call before
	}
	calls := func(n int, c call) []call { return slices.Repeat([]call{c}, n) }
	a := call{"push", "a", "u", "192.0.2.1", 0}
	for name, c := range map[string]struct {
		all   []dispatchers.Limit
		push  []dispatchers.Limit // of the dispatcher "push"
		other []dispatchers.Limit
		calls []call
		want  []bool
		scope dispatchers.Scope
	}{
		"none": {calls: calls(3, a), want: []bool{true, true, true}},
		"the defaults": {
			all:   []dispatchers.Limit{{Scope: dispatchers.PerTarget, N: 2, Window: 5 * time.Minute}, {Scope: dispatchers.PerTarget, N: 3, Window: time.Hour}},
			calls: append(calls(3, a), call{"push", "a", "u", "192.0.2.1", 5 * time.Minute}, call{"push", "a", "u", "192.0.2.1", 5 * time.Minute}, call{"push", "a", "u", "192.0.2.1", time.Hour}),
			want:  []bool{true, true, false, true, false, true},
			scope: dispatchers.PerTarget,
		},
		"per target": {
			all:   limit(dispatchers.PerTarget, 1, time.Hour),
			calls: []call{a, {"push", "b", "u", "192.0.2.1", 0}, {"other", "a", "v", "192.0.2.2", 0}},
			want:  []bool{true, true, false}, scope: dispatchers.PerTarget,
		},
		"per user": {
			all:   limit(dispatchers.PerUser, 1, time.Hour),
			calls: []call{a, {"push", "b", "u", "192.0.2.2", 0}, {"push", "a", "v", "192.0.2.1", 0}},
			want:  []bool{true, false, true}, scope: dispatchers.PerUser,
		},
		"per client": {
			all:   limit(dispatchers.PerClient, 1, time.Hour),
			calls: []call{a, {"other", "b", "v", "192.0.2.1", 0}, {"push", "a", "u", "192.0.2.2", 0}},
			want:  []bool{true, false, true}, scope: dispatchers.PerClient,
		},
		"per client, IPv6": {
			all:   limit(dispatchers.PerClient, 1, time.Hour),
			calls: []call{{"push", "a", "u", "2001:db8::1", 0}, {"push", "a", "u", "2001:db8::2%eth0", 0}, {"push", "a", "u", "2001:db8:0:1::1", 0}},
			want:  []bool{true, false, true}, scope: dispatchers.PerClient,
		},
		"per client, IPv4 in IPv6": {
			all:   limit(dispatchers.PerClient, 1, time.Hour),
			calls: []call{a, {"push", "a", "u", "::ffff:192.0.2.1", 0}, {"push", "a", "u", "::ffff:192.0.2.2", 0}},
			want:  []bool{true, false, true}, scope: dispatchers.PerClient,
		},
		"per dispatcher": {
			push:  limit(dispatchers.PerTarget, 1, time.Hour),
			calls: []call{a, {"other", "a", "u", "192.0.2.1", 0}, a},
			want:  []bool{true, true, false}, scope: dispatchers.PerTarget,
		},
		"per dispatcher, the same for two": {
			push: limit(dispatchers.PerTarget, 1, time.Hour), other: limit(dispatchers.PerTarget, 1, time.Hour),
			calls: []call{a, {"other", "a", "u", "192.0.2.1", 0}, a},
			want:  []bool{true, true, false}, scope: dispatchers.PerTarget,
		},
		"per dispatcher, in addition": {
			all: limit(dispatchers.PerTarget, 2, time.Hour), push: limit(dispatchers.PerTarget, 3, time.Hour),
			calls: calls(3, a), want: []bool{true, true, false}, scope: dispatchers.PerTarget,
		},
		"no target, no user": {
			all:   append(limit(dispatchers.PerTarget, 1, time.Hour), limit(dispatchers.PerUser, 1, time.Hour)...),
			calls: calls(3, call{"push", "", "", "192.0.2.1", 0}), want: []bool{true, true, true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.Limits = c.all
				h.ClientIP = func(r *http.Request) string { return r.Header.Get("X-Client") }
				for _, name := range []string{"push", "other"} {
					h.add(Channel{Name: name, Encryption: Off, Traits: dispatchers.Traits{AnswersCaller: true}})
				}
				h.Channels["push"].Limits, h.Channels["other"].Limits = c.push, c.other

				forwarded := 0
				for i, call := range c.calls {
					time.Sleep(call.after)
					r := newRequest(t, http.MethodPost, authentication, string(toJSON(t, map[string]any{
						"dispatcher": call.dispatcher, "dispatchTargetId": call.target,
						"getUafRequest": map[string]any{"context": `{"username":"` + call.user + `"}`},
					})))
					r.Header.Set("X-Client", call.client)
					want := nevisfido.DispatchError
					if c.want[i] {
						want = nevisfido.Dispatched
						forwarded++
					}
					h.send(r).wantResult(t, want)
				}
				if got := len(h.upstream.calls()); got != forwarded {
					t.Errorf("%d requests forwarded, want %d", got, forwarded)
				}
				if slices.Contains(h.seen.limited, c.scope) != (c.scope != "") || len(h.seen.limited) != len(c.calls)-forwarded {
					t.Errorf("the observer was told of %q", h.seen.limited)
				}
			})
		})
	}
}

// Ids and names that nobody knows do not push out the counters of the others.
func TestWhatIsCountedApart(t *testing.T) {
	h := newHarness(t)
	counter := new(recordingLimiter)
	h.Limiter = counter
	for _, scope := range []dispatchers.Scope{dispatchers.PerTarget, dispatchers.PerUser, dispatchers.PerClient} {
		h.Limits = append(h.Limits, dispatchers.Limit{Scope: scope, N: 1, Window: time.Hour})
	}
	h.link(Off)
	for body, want := range map[string][]bool{
		h.body("link"):            {false, false, true},
		h.bodyFor("link", "else"): {true, true, true},
		strings.Replace(h.body("link"), h.username, "mallory", 1): {false, true, true},
	} {
		counter.apart = nil
		h.send(newRequest(t, http.MethodPost, authentication, body))
		if !slices.Equal(counter.apart, want) {
			t.Errorf("%s: counted apart: %v, want %v", body, counter.apart, want)
		}
	}
}

type recordingLimiter struct{ apart []bool }

func (l *recordingLimiter) TakeAll(_ context.Context, counts []targets.Count) (int, error) {
	for _, c := range counts {
		l.apart = append(l.apart, c.Apart)
	}
	return -1, nil
}

func (*recordingLimiter) GiveBack(context.Context, []targets.Count) error { return nil }

func TestPushBombing(t *testing.T) {
	h := newHarness(t)
	h.Limits = []dispatchers.Limit{{Scope: dispatchers.PerTarget, N: 5, Window: 5 * time.Minute}, {Scope: dispatchers.PerTarget, N: 15, Window: time.Hour}}
	g := h.push()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				h.dispatch("push")
			}
		})
	}
	wg.Wait()
	if len(g.messages()) != 5 || len(h.upstream.calls()) != 5 {
		t.Errorf("%d messages, %d forwarded", len(g.messages()), len(h.upstream.calls()))
	}
}

type brokenLimiter struct{ hang bool }

func (l brokenLimiter) TakeAll(ctx context.Context, _ []targets.Count) (int, error) {
	if l.hang {
		<-ctx.Done()
		return -1, ctx.Err()
	}
	return -1, errors.New("connection refused")
}

func (brokenLimiter) GiveBack(context.Context, []targets.Count) error {
	return errors.New("connection refused")
}

// Without counters nothing is sent: an outage must not lift the limits.
func TestLimiterUnavailable(t *testing.T) {
	for name, limiter := range map[string]brokenLimiter{"fails": {}, "hangs": {hang: true}} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.Limiter = limiter
			h.Limits = []dispatchers.Limit{{Scope: dispatchers.PerClient, N: 5, Window: time.Minute}}
			if limiter.hang {
				h.Deadline = 10 * time.Millisecond
			}
			g := h.link(Off)
			h.send(newRequest(t, http.MethodPost, authentication, `{"dispatcher":"link"}`)).wantResult(t, nevisfido.InternalError)
			if len(g.messages()) != 0 || len(h.upstream.calls()) != 0 {
				t.Error("something was sent")
			}
			if got := h.seen.one(t).Reason; got != "limiter_unavailable" {
				t.Errorf("reason %q", got)
			}
		})
	}
}

func TestConcurrency(t *testing.T) {
	h := newHarness(t)
	started, finish := make(chan struct{}), make(chan struct{})
	g := h.push()
	h.Channels["push"].Slots = make(chan struct{}, 2)
	h.link(Required)
	g.do = func(context.Context, *dispatchers.Message) (dispatchers.Receipt, error) {
		started <- struct{}{}
		<-finish
		return dispatchers.Receipt{}, nil
	}
	var wg sync.WaitGroup
	var answers [2]*answer
	for i := range answers {
		wg.Go(func() { answers[i] = h.dispatch("push") })
		<-started
	}
	h.dispatch("push").wantResult(t, nevisfido.DispatchError)
	if len(h.upstream.calls()) != 2 {
		t.Error("the third request was forwarded")
	}
	h.wantLog(`"reason":"busy"`)
	h.dispatch("link").wantResult(t, nevisfido.Dispatched) // its places are its own
	close(finish)
	wg.Wait()
	for _, a := range answers {
		a.wantResult(t, nevisfido.Dispatched)
	}
	g.do = nil
	h.dispatch("push").wantResult(t, nevisfido.Dispatched)
}

// A place is given back however an exchange ends.
func TestPlacesAreGivenBack(t *testing.T) {
	h := newHarness(t)
	g := h.push()
	h.Channels["push"].Slots = make(chan struct{}, 1)
	good := h.upstream.answer
	for name, set := range map[string]func(){
		"nevisFIDO is away": func() {
			h.upstream.answer = func(http.ResponseWriter, *http.Request) error { return errors.New("dial") }
		},
		"nevisFIDO declines": func() { h.upstream.answer = respond(http.StatusOK, `{"dispatchResult":"userNotFound"}`) },
		"nevisFIDO's answer ends": func() {
			h.upstream.answer = func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }
		},
		"nevisFIDO is silent": func() { h.upstream.answer = func(http.ResponseWriter, *http.Request) error { return nil } },
		"the guest fails":     func() { g.fails(dispatchers.Refused) },
		"the guest panics":    func() { g.do = panics("x") },
		"a limit": func() {
			h.Limits = []dispatchers.Limit{{Scope: dispatchers.PerTarget, N: 1, Window: time.Hour}}
			h.dispatch("push") // the next is one too many
		},
	} {
		t.Run(name, func(t *testing.T) {
			h.tb = t
			set()
			func() {
				defer func() { _ = recover() }()
				h.dispatch("push")
			}()
			h.upstream.answer, g.do, h.Limits = good, nil, nil
			h.dispatch("push").wantResult(t, nevisfido.Dispatched)
		})
	}
}

func TestQuarantine(t *testing.T) {
	expired := func(keep bool) func(context.Context, *dispatchers.Message) (dispatchers.Receipt, error) {
		return func(context.Context, *dispatchers.Message) (dispatchers.Receipt, error) {
			failure := dispatchers.Fail(dispatchers.Expired, "unregistered", "the app is gone")
			failure.KeepTarget = keep
			return dispatchers.Receipt{}, failure
		}
	}
	for name, c := range map[string]struct {
		channel Channel
		keep    bool
		want    targets.State
	}{
		"the target's own address":  {Channel{Type: "fcm"}, false, targets.Expired},
		"the operator keeps it":     {Channel{Type: "fcm"}, true, targets.Active},
		"another address":           {Channel{Type: "smtp", Address: "x@example.com"}, false, targets.Active},
		"its own, by configuration": {Channel{Type: "webhook", Address: "{oob.target}"}, false, targets.Expired},
		"a channel without address": {Channel{Type: "webhook", Traits: dispatchers.Traits{AddressOptional: true}}, false, targets.Active},
		"an answer to the caller":   {Channel{Type: "link", Traits: dispatchers.Traits{AnswersCaller: true}}, false, targets.Active},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.push()
			c.channel.Name = "c"
			g := h.add(c.channel)
			g.do = expired(c.keep)
			id := "c"
			if c.channel.Type == "fcm" {
				id = "push"
				h.Channels["push"].Dispatcher = g
			}
			h.dispatch(id).wantResult(t, nevisfido.DispatchTargetExpired)
			if got := h.record().State(); got != c.want {
				t.Errorf("the target is %s, want %s", got, c.want)
			}

			before := len(h.upstream.calls())
			g.do = nil
			want := nevisfido.Dispatched
			if c.want == targets.Expired {
				want = nevisfido.DispatchTargetExpired
			}
			h.dispatch(id).wantResult(t, want)
			if forwarded := len(h.upstream.calls()) > before; forwarded != (want == nevisfido.Dispatched) {
				t.Errorf("forwarded: %v", forwarded)
			}
		})
	}
}

// Only the address is gone: whoever does not use it serves the target, alone and
// in a composite.
func TestQuarantineConcernsTheAddressOnly(t *testing.T) {
	own, elsewhere := nevisfido.DispatchTargetExpired, nevisfido.Dispatched
	for name, want := range map[string]nevisfido.DispatchResult{
		"push": own, "copy": own, "link": elsewhere, "mail": elsewhere, "hook": elsewhere,
		"only push": own, "both": elsewhere, "with link": elsewhere,
	} {
		for _, observe := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, observed %t", name, observe), func(t *testing.T) {
				h := newHarness(t)
				h.ObserveOnly = observe
				h.edit(func(t *targets.Target) { t.GoneAddress = t.Address })
				push, link := h.push(), h.link(Required)
				h.add(Channel{Name: "copy", Type: "webhook", Address: "{oob.target}"})
				mail := h.add(Channel{Name: "mail", Type: "smtp", Address: "jeff@example.com"})
				hook := h.add(Channel{Name: "hook", Type: "webhook", Traits: dispatchers.Traits{AddressOptional: true}})
				h.compose("only push", firstOf("push"))
				h.compose("both", firstOf("push", "mail"))
				h.compose("with link", firstOf("push", "link"))
				a := h.dispatch(name)
				if record := h.seen.one(t); (record.Class == dispatchers.Delivered) != (want == elsewhere) {
					t.Errorf("on record: %+v", record)
				}
				if observe {
					return
				}
				a.wantResult(t, want)
				if forwarded := len(h.upstream.calls()) == 1; forwarded == (name == "push" || name == "copy") {
					t.Errorf("forwarded: %t", forwarded)
				}
				if len(push.messages()) != 0 {
					t.Error("a quarantined address was used")
				}
				for _, g := range []*guest{link, mail, hook} {
					for _, m := range g.messages() {
						open(t, h.device, m)
					}
				}
			})
		}
	}
}

// An address that changed while the message was on its way is not the one
// that is gone.
func TestQuarantineOfANewerAddress(t *testing.T) {
	h := newHarness(t)
	g := h.push()
	g.do = func(context.Context, *dispatchers.Message) (dispatchers.Receipt, error) {
		h.edit(func(t *targets.Target) { t.Address = "new" })
		return dispatchers.Receipt{}, dispatchers.Fail(dispatchers.Expired, "unregistered", "the app is gone")
	}
	h.dispatch("push").wantResult(t, nevisfido.DispatchTargetExpired)
	if h.record().State() != targets.Active {
		t.Error("the new address is in quarantine")
	}
}

// What failed through our own fault was not sent: one a day would come to none.
func TestBrokenDispatchersCountNothing(t *testing.T) {
	for name, c := range map[string]struct {
		class  dispatchers.Class
		counts bool
	}{
		"broken":    {dispatchers.Broken, false},
		"refused":   {dispatchers.Refused, true},
		"temporary": {dispatchers.Temporary, true},
		"delivered": {"", true},
	} {
		for _, through := range []string{"letter", "composite"} {
			t.Run(name+" "+through, func(t *testing.T) {
				h := newHarness(t)
				g := h.add(Channel{
					Name: "letter", Address: "Main Street 1",
					Limits: []dispatchers.Limit{{Scope: dispatchers.PerTarget, N: 1, Window: time.Hour}},
				})
				h.compose("composite", firstOf("letter"))
				if c.class != "" {
					g.fails(c.class)
				}
				h.dispatch(through)
				g.do = nil
				result := nevisfido.Dispatched
				if c.counts {
					result = nevisfido.DispatchError
				}
				h.dispatch(through).wantResult(t, result)
			})
		}
	}
}

// One of its members may have delivered.
func TestCompositeThatFailsCounts(t *testing.T) {
	h := newHarness(t)
	h.push()
	h.add(Channel{Name: "letter", Address: "Main Street 1"}).fails(dispatchers.Broken)
	h.compose("all", composite{[]string{"push", "letter"}, func(ctx context.Context, d dispatchers.Delivery) (dispatchers.Receipt, error) {
		_, _ = deliver(ctx, d, "push")
		return deliver(ctx, d, "letter")
	}}).Limits = []dispatchers.Limit{{Scope: dispatchers.PerTarget, N: 1, Window: time.Hour}}
	h.dispatch("all").wantResult(t, nevisfido.InternalError)
	h.dispatch("all").wantResult(t, nevisfido.DispatchError)
}

// The limits that hold for all count it: nevisFIDO has made a token.
func TestBrokenDispatchersCountForAll(t *testing.T) {
	h := newHarness(t)
	h.push().fails(dispatchers.Broken)
	h.Limits = []dispatchers.Limit{{Scope: dispatchers.PerTarget, N: 1, Window: time.Hour}}
	h.dispatch("push").wantResult(t, nevisfido.InternalError)
	h.dispatch("push").wantResult(t, nevisfido.DispatchError)
}

// An attempt that may have delivered counts, however the last one ended.
func TestUncertainAttemptsCount(t *testing.T) {
	h := newHarness(t)
	g := h.add(Channel{
		Name: "letter", Address: "Main Street 1", Retries: 1,
		Limits: []dispatchers.Limit{{Scope: dispatchers.PerTarget, N: 1, Window: time.Hour}},
	})
	g.do = func(context.Context, *dispatchers.Message) (dispatchers.Receipt, error) {
		class := dispatchers.Temporary
		if len(g.messages()) > 1 {
			class = dispatchers.Broken
		}
		return dispatchers.Receipt{}, dispatchers.Fail(class, "scripted", "scripted")
	}
	h.dispatch("letter").wantResult(t, nevisfido.InternalError)
	g.do = nil
	h.dispatch("letter").wantResult(t, nevisfido.DispatchError)
}

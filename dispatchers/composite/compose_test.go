package composite

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/goleak"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// members play the configured dispatchers: a class makes one fail.
type members struct {
	mu     sync.Mutex
	fail   map[string]dispatchers.Class
	hold   map[string]chan struct{}
	called []string
}

func (ms *members) deliver(ctx context.Context, name string) (dispatchers.Receipt, error) {
	ms.mu.Lock()
	ms.called = append(ms.called, name)
	class, hold := ms.fail[name], ms.hold[name]
	ms.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return dispatchers.Receipt{}, ctx.Err()
		}
	}
	if class != "" {
		return dispatchers.Receipt{}, dispatchers.Fail(class, "scripted", "scripted")
	}
	return dispatchers.Receipt{Response: "by " + name, Dispatcher: name}, nil
}

func provision(t *testing.T, p caddy.Provisioner) error {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	return p.Provision(ctx)
}

func TestFallback(t *testing.T) {
	for name, tc := range map[string]struct {
		on        []dispatchers.Class
		fail      map[string]dispatchers.Class
		called    []string
		delivered string
		class     dispatchers.Class
	}{
		"the first delivers": {called: []string{"a"}, delivered: "a"},
		"expired goes on":    {fail: map[string]dispatchers.Class{"a": dispatchers.Expired}, called: []string{"a", "b"}, delivered: "b"},
		"two fail": {
			fail:   map[string]dispatchers.Class{"a": dispatchers.Temporary, "b": dispatchers.Broken},
			called: []string{"a", "b", "c"}, delivered: "c",
		},
		"refused does not go on": {
			fail: map[string]dispatchers.Class{"a": dispatchers.Refused}, called: []string{"a"}, class: dispatchers.Refused,
		},
		"no key does not go on": {
			fail: map[string]dispatchers.Class{"a": dispatchers.NoKey}, called: []string{"a"}, class: dispatchers.NoKey,
		},
		"refused goes on where configured": {
			on:   []dispatchers.Class{dispatchers.Refused},
			fail: map[string]dispatchers.Class{"a": dispatchers.Refused}, called: []string{"a", "b"}, delivered: "b",
		},
		"all fail: what tells most": {
			fail:   map[string]dispatchers.Class{"a": dispatchers.NoTarget, "b": dispatchers.Temporary, "c": dispatchers.Expired},
			called: []string{"a", "b", "c"}, class: dispatchers.Temporary,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := &Fallback{Try: []string{"a", "b", "c"}, On: tc.on}
			if err := provision(t, f); err != nil {
				t.Fatal(err)
			}
			ms := &members{fail: tc.fail}
			told := 0
			m := &dispatchers.Message{ID: "m", FellBack: func(from, to string, _ *dispatchers.Error) {
				if from != tc.called[told] || to != tc.called[told+1] {
					t.Errorf("told of a fallback from %s to %s", from, to)
				}
				told++
			}}
			receipt, err := f.Compose(t.Context(), m, ms.deliver)
			if told != len(tc.called)-1 {
				t.Errorf("told of %d fallbacks", told)
			}
			if !slices.Equal(ms.called, tc.called) || receipt.Dispatcher != tc.delivered {
				t.Errorf("called %q, delivered by %q", ms.called, receipt.Dispatcher)
			}
			if tc.class != "" && (err == nil || dispatchers.AsError(err).Class != tc.class) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestFallbackStopsAtTheDeadline(t *testing.T) {
	f := &Fallback{Try: []string{"a", "b"}}
	if err := provision(t, f); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ms := &members{hold: map[string]chan struct{}{"a": make(chan struct{})}}
	if _, err := f.Compose(ctx, &dispatchers.Message{}, ms.deliver); err == nil || len(ms.called) != 1 {
		t.Errorf("called %q, %v", ms.called, err)
	}
}

func TestFanOut(t *testing.T) {
	down := map[string]dispatchers.Class{"b": dispatchers.Temporary}
	for name, tc := range map[string]struct {
		rule      Rule
		fail      map[string]dispatchers.Class
		responses int
		class     dispatchers.Class
	}{
		"any, all deliver":  {rule: Any, responses: 2},
		"any, one delivers": {rule: Any, fail: down, responses: 1},
		"default is any":    {fail: down, responses: 1},
		"all, all deliver":  {rule: All, responses: 2},
		"all, one fails":    {rule: All, fail: down, class: dispatchers.Temporary},
		"first, one fails":  {rule: First, fail: down, responses: 1},
		"none delivers": {
			rule: Any, fail: map[string]dispatchers.Class{"a": dispatchers.NoTarget, "b": dispatchers.Broken}, class: dispatchers.Broken,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := &FanOut{To: []string{"a", "b"}, Succeed: tc.rule}
			if err := provision(t, f); err != nil {
				t.Fatal(err)
			}
			receipt, err := f.Compose(t.Context(), &dispatchers.Message{Dispatcher: "both"}, (&members{fail: tc.fail}).deliver)
			if tc.class != "" {
				if err == nil || dispatchers.AsError(err).Class != tc.class {
					t.Errorf("got %v", err)
				}
				return
			}
			responses, _ := receipt.Response.(map[string]any)
			if err != nil || len(responses) != tc.responses || receipt.Dispatcher != "both" || responses["a"] != "by a" {
				t.Errorf("got %+v, %v", receipt, err)
			}
		})
	}
}

func TestFirstDoesNotWaitForSlowMembers(t *testing.T) {
	f := &FanOut{To: []string{"slow", "quick"}, Succeed: First}
	if err := provision(t, f); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	ms := &members{hold: map[string]chan struct{}{"slow": release}}
	receipt, err := f.Compose(t.Context(), &dispatchers.Message{}, ms.deliver)
	close(release)
	if responses, _ := receipt.Response.(map[string]any); err != nil || len(responses) != 1 || responses["quick"] != "by quick" {
		t.Errorf("got %+v, %v", receipt, err)
	}
}

func TestCaddyfile(t *testing.T) {
	parse := func(text string) error {
		d := caddyfile.NewTestDispenser(text)
		if strings.HasPrefix(text, "fallback") {
			return new(Fallback).UnmarshalCaddyfile(d)
		}
		return new(FanOut).UnmarshalCaddyfile(d)
	}
	for _, good := range []string{
		"fallback {\n try a b\n on expired temporary\n}",
		"fallback {\n try a\n try b\n}",
		"fan_out {\n to a b\n succeed all\n}",
	} {
		if err := parse(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		"fallback":                                       "names no dispatchers",
		"fallback x {\n try a\n}":                        "unexpected argument",
		"fallback {\n try\n}":                            "takes the names",
		"fallback {\n try a a\n}":                        "twice",
		"fallback {\n try a\n on sunshine\n}":            "there is no outcome",
		"fallback {\n try a\n on delivered\n}":           "there is no outcome",
		"fallback {\n try a\n on\n}":                     "on takes",
		"fallback {\n try a\n on expired\n on broken\n}": "on stands once",
		"fallback {\n try a\n to b\n}":                   "unrecognized option",
		"fan_out {\n to a\n succeed some\n}":             "it is first, any or all",
		"fan_out {\n to a\n succeed any all\n}":          "succeed stands once",
		"fan_out {\n succeed any\n}":                     "names no dispatchers",
		"fan_out {\n to a\n limits x\n}":                 "unrecognized option",
	} {
		if err := parse(bad); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Testfile:") {
			t.Errorf("%s: got %v, want %q", bad, err, want)
		}
	}
}

func TestBadJSON(t *testing.T) {
	for name, p := range map[string]caddy.Provisioner{
		"no members":      &Fallback{},
		"member twice":    &Fallback{Try: []string{"a", "a"}},
		"unknown outcome": &Fallback{Try: []string{"a"}, On: []dispatchers.Class{"x"}},
		"unknown rule":    &FanOut{To: []string{"a"}, Succeed: "x"},
		"nobody":          &FanOut{},
	} {
		if err := provision(t, p); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestFailuresOfAnyKindCount(t *testing.T) {
	f := &Fallback{Try: []string{"a"}}
	if err := provision(t, f); err != nil {
		t.Fatal(err)
	}
	_, err := f.Compose(t.Context(), &dispatchers.Message{}, func(context.Context, string) (dispatchers.Receipt, error) {
		return dispatchers.Receipt{}, errors.New("plain")
	})
	if err == nil || dispatchers.AsError(err).Class != dispatchers.Broken {
		t.Errorf("got %v", err)
	}
}

// A first member that hangs leaves time for the others.
func TestFallbackSharesTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &Fallback{Try: []string{"a", "b", "c"}}
		if err := provision(t, f); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		start := time.Now()
		never := make(chan struct{})
		ms := &members{hold: map[string]chan struct{}{"a": never, "b": never}}
		receipt, err := f.Compose(ctx, &dispatchers.Message{}, ms.deliver)
		if err != nil || receipt.Dispatcher != "c" || time.Since(start) != 6*time.Second {
			t.Errorf("%+v, %v after %s", receipt, err, time.Since(start))
		}
	})
}

func TestMembersThatDoNotServeTheOperation(t *testing.T) {
	for name, tc := range map[string]struct {
		composite dispatchers.Composite
		serving   string
		called    []string
		fails     bool
	}{
		"fallback":       {&Fallback{Try: []string{"a", "b", "c"}}, "bc", []string{"b"}, false},
		"fallback, none": {&Fallback{Try: []string{"a", "b", "c"}}, "", nil, true},
		"fan-out":        {&FanOut{To: []string{"a", "b", "c"}, Succeed: All}, "b", []string{"b"}, false},
		"fan-out, none":  {&FanOut{To: []string{"a"}}, "", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := provision(t, tc.composite.(caddy.Provisioner)); err != nil {
				t.Fatal(err)
			}
			ms := new(members)
			m := &dispatchers.Message{Serves: func(name string) bool { return strings.Contains(tc.serving, name) }}
			_, err := tc.composite.Compose(t.Context(), m, ms.deliver)
			if !slices.Equal(ms.called, tc.called) || (err != nil) != tc.fails {
				t.Errorf("called %q, %v", ms.called, err)
			}
		})
	}
}

// What goes on after the first has delivered is waited for by Rest, through
// composites of composites.
func TestRest(t *testing.T) {
	inner := &FanOut{To: []string{"quick", "slow"}, Succeed: First}
	for name, outer := range map[string]dispatchers.Composite{
		"alone":         inner,
		"in a fallback": &Fallback{Try: []string{"inner", "other"}},
		"in a fan-out":  &FanOut{To: []string{"inner"}, Succeed: Any},
	} {
		t.Run(name, func(t *testing.T) {
			if err := provision(t, outer.(caddy.Provisioner)); err != nil {
				t.Fatal(err)
			}
			release := make(chan struct{})
			var ended atomic.Int32
			ms := &members{hold: map[string]chan struct{}{"slow": release}}
			var deliver dispatchers.Deliver
			deliver = func(ctx context.Context, name string) (dispatchers.Receipt, error) {
				if name == "inner" {
					return inner.Compose(ctx, &dispatchers.Message{}, deliver)
				}
				defer ended.Add(1)
				receipt, err := ms.deliver(ctx, name)
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				return receipt, err
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			receipt, err := outer.Compose(ctx, &dispatchers.Message{}, deliver)
			if err != nil || receipt.Rest == nil {
				t.Fatalf("%+v, %v", receipt, err)
			}
			close(release)
			if receipt.Rest(); ended.Load() != 2 {
				t.Errorf("%d members have ended", ended.Load())
			}
		})
	}
}

// What a failure leaves under way is waited for as well.
func TestRestOfAFailure(t *testing.T) {
	inner := &FanOut{To: []string{"quick", "slow"}, Succeed: First}
	all := &FanOut{To: []string{"inner", "down"}, Succeed: All}
	for name, tc := range map[string]struct {
		outer dispatchers.Composite
		fails bool
	}{
		"of a fan-out":                        {all, true},
		"of a fallback's last":                {&Fallback{Try: []string{"all"}}, true},
		"of a member before the one that did": {&Fallback{Try: []string{"all", "other"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, p := range []dispatchers.Composite{inner, all, tc.outer} {
				if err := provision(t, p.(caddy.Provisioner)); err != nil {
					t.Fatal(err)
				}
			}
			release := make(chan struct{})
			var ended atomic.Bool
			ms := &members{hold: map[string]chan struct{}{"slow": release}, fail: map[string]dispatchers.Class{"down": dispatchers.Temporary}}
			var deliver dispatchers.Deliver
			deliver = func(ctx context.Context, name string) (dispatchers.Receipt, error) {
				switch name {
				case "all":
					return all.Compose(ctx, &dispatchers.Message{}, deliver)
				case "inner":
					return inner.Compose(ctx, &dispatchers.Message{}, deliver)
				}
				receipt, err := ms.deliver(ctx, name)
				if name == "slow" {
					ended.Store(err == nil)
				}
				return receipt, err
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			receipt, err := tc.outer.Compose(ctx, &dispatchers.Message{}, deliver)
			if (err != nil) != tc.fails || receipt.Rest == nil {
				t.Fatalf("%+v, %v", receipt, err)
			}
			close(release)
			if receipt.Rest(); !ended.Load() {
				t.Error("the slow member was cut short, or not waited for")
			}
		})
	}
}

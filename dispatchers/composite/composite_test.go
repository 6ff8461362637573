package composite

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/goleak"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script plays the configured dispatchers: a class makes one fail.
type script struct {
	mu     sync.Mutex
	fail   map[string]dispatchers.Class
	hold   map[string]chan struct{}
	called []string
	ended  []string // having delivered
	told   []string // of fallbacks
}

func (s *script) deliver(ctx context.Context, name string) (dispatchers.Receipt, error) {
	s.mu.Lock()
	s.called = append(s.called, name)
	class, hold := s.fail[name], s.hold[name]
	s.mu.Unlock()
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = append(s.ended, name)
	return dispatchers.Receipt{Response: "by " + name, Dispatcher: name}, nil
}

// delivery returns what the members do as the script says.
func (s *script) delivery(members ...string) dispatchers.Delivery {
	d := dispatchers.Delivery{
		FellBack: func(from, to dispatchers.Member, _ *dispatchers.Error) {
			s.told = append(s.told, from.Name+" to "+to.Name)
		},
	}
	for _, name := range members {
		d.Members = append(d.Members, dispatchers.Member{
			Name:    name,
			Deliver: func(ctx context.Context) (dispatchers.Receipt, error) { return s.deliver(ctx, name) },
		})
	}
	return d
}

func provision(t *testing.T, p caddy.Provisioner) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	if err := p.Provision(ctx); err != nil {
		t.Fatal(err)
	}
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
			provision(t, f)
			ms := &script{fail: tc.fail}
			receipt, err := f.Compose(t.Context(), ms.delivery("a", "b", "c"))
			var told []string
			for i := range len(tc.called) - 1 {
				told = append(told, tc.called[i]+" to "+tc.called[i+1])
			}
			if !slices.Equal(ms.told, told) {
				t.Errorf("told of fallbacks %q", ms.told)
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
	provision(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ms := &script{hold: map[string]chan struct{}{"a": make(chan struct{})}}
	if _, err := f.Compose(ctx, ms.delivery(f.Members()...)); err == nil || len(ms.called) != 1 {
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
			provision(t, f)
			receipt, err := f.Compose(t.Context(), (&script{fail: tc.fail}).delivery("a", "b"))
			if tc.class != "" {
				if err == nil || dispatchers.AsError(err).Class != tc.class {
					t.Errorf("got %v", err)
				}
				return
			}
			responses, _ := receipt.Response.(map[string]any)
			if err != nil || len(responses) != tc.responses || responses["a"] != "by a" {
				t.Errorf("got %+v, %v", receipt, err)
			}
		})
	}
}

func TestFirstDoesNotWaitForSlowMembers(t *testing.T) {
	f := &FanOut{To: []string{"slow", "quick"}, Succeed: First}
	provision(t, f)
	release := make(chan struct{})
	ms := &script{hold: map[string]chan struct{}{"slow": release}}
	receipt, err := f.Compose(t.Context(), ms.delivery(f.Members()...))
	close(release)
	if responses, _ := receipt.Response.(map[string]any); err != nil || len(responses) != 1 || responses["quick"] != "by quick" {
		t.Errorf("got %+v, %v", receipt, err)
	}
}

// A first member that hangs leaves time for the others.
func TestFallbackSharesTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &Fallback{Try: []string{"a", "b", "c"}}
		provision(t, f)
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		start := time.Now()
		never := make(chan struct{})
		ms := &script{hold: map[string]chan struct{}{"a": never, "b": never}}
		receipt, err := f.Compose(ctx, ms.delivery(f.Members()...))
		if err != nil || receipt.Dispatcher != "c" || time.Since(start) != 6*time.Second {
			t.Errorf("%+v, %v after %s", receipt, err, time.Since(start))
		}
	})
}

// nest delivers to composites below a composite as to any member.
func nest(s *script, composites map[string]dispatchers.Composite, members []string) dispatchers.Delivery {
	d := s.delivery(members...)
	for i, member := range d.Members {
		if c := composites[member.Name]; c != nil {
			d.Members[i].Deliver = func(ctx context.Context) (dispatchers.Receipt, error) {
				return c.Compose(ctx, nest(s, composites, c.Members()))
			}
		}
	}
	return d
}

// What goes on after the first has delivered, or after a failure, is waited for
// by Rest, through composites of composites.
func TestRest(t *testing.T) {
	inner := &FanOut{To: []string{"quick", "slow"}, Succeed: First}
	all := &FanOut{To: []string{"inner", "down"}, Succeed: All}
	composites := map[string]dispatchers.Composite{"inner": inner, "all": all}
	for name, tc := range map[string]struct {
		outer dispatchers.Composite
		fails bool
	}{
		"alone":                               {inner, false},
		"in a fallback":                       {&Fallback{Try: []string{"inner", "other"}}, false},
		"in a fan-out":                        {&FanOut{To: []string{"inner"}, Succeed: Any}, false},
		"of a failed fan-out":                 {all, true},
		"of a fallback's last":                {&Fallback{Try: []string{"all"}}, true},
		"of a member before the one that did": {&Fallback{Try: []string{"all", "other"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			provision(t, tc.outer.(caddy.Provisioner))
			release := make(chan struct{})
			ms := &script{hold: map[string]chan struct{}{"slow": release}, fail: map[string]dispatchers.Class{"down": dispatchers.Temporary}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			receipt, err := tc.outer.Compose(ctx, nest(ms, composites, tc.outer.Members()))
			if (err != nil) != tc.fails || receipt.Rest == nil {
				t.Fatalf("%+v, %v", receipt, err)
			}
			close(release)
			if receipt.Rest(); !slices.Contains(ms.ended, "slow") {
				t.Error("the slow member was cut short, or not waited for")
			}
		})
	}
}

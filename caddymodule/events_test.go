package caddymodule

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/oob-dispatch/oob-dispatch/internal/keyedhash"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

func init() { caddy.RegisterModule(subscriber{}) }

// subscriber is a module that users of Caddy's events could have.
type subscriber struct{}

type seenEvent struct {
	name   string
	origin caddy.ModuleID
	data   map[string]any
}

// seenEvents are those of the subscribers.
type seenEvents chan seenEvent

var seen = make(seenEvents, 100)

func (subscriber) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.oob_test", New: func() caddy.Module { return new(subscriber) }}
}

func (subscriber) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

func (subscriber) Handle(_ context.Context, e caddy.Event) error {
	seen <- seenEvent{e.Name(), e.Origin().CaddyModule().ID, e.Data}
	return nil
}

var _ caddyevents.Handler = subscriber{}

// subscribe returns the events of a test, which has `oob_test` in its Caddyfile.
func subscribe(t *testing.T) seenEvents {
	t.Helper()
	for len(seen) > 0 {
		<-seen
	}
	return seen
}

func (s seenEvents) next(t *testing.T) seenEvent {
	t.Helper()
	select {
	case e := <-s:
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("there was no event")
		return seenEvent{}
	}
}

func (s seenEvents) none(t *testing.T) {
	t.Helper()
	select {
	case e := <-s:
		t.Errorf("there was another event: %+v", e)
	case <-time.After(100 * time.Millisecond):
	}
}

// A subscriber hears of dispatches that failed, and of no others. The data tell
// nothing that the log would not.
func TestEventOfADispatchThatFailed(t *testing.T) {
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	defer gateway.Close()
	events := subscribe(t)
	const key = "0123456789abcdef0123456789abcdef"
	_, s := healthOf(t, "\t\thash_key "+key+"\n\t\tdispatcher push webhook {\n\t\t\turl "+gateway.URL+"\n\t\t\taddress canary-address\n\t\t\tencryption off\n\t\t\tbase_url https://a.example/open\n\t\t}",
		"events {\non dispatch_failed oob_test\n}")
	for _, name := range []string{"open", "push"} {
		s.dispatch(name, "canary-user")
	}
	e := events.next(t)
	hash := keyedhash.New([]byte(key))
	for name, want := range map[string]string{
		"operation": "authentication", "dispatcher": "push", "result": "dispatchError", "class": "refused", "reason": "rejected",
		"user": hash.Of("user", "canary-user"), "token": hash.Of("token", "0123456789abcdef0123456789abcdef"),
	} {
		if e.data[name] != want {
			t.Errorf("%s is %v, want %s", name, e.data[name], want)
		}
	}
	if e.name != "dispatch_failed" || e.origin != "http.handlers.oob_dispatch" || len(e.data) != 7 {
		t.Errorf("the event is %+v", e)
	}
	events.none(t)
}

// A reload cleans the handler up while events of it still go to their subscribers.
func TestEventsWhileTheHandlerEnds(t *testing.T) {
	healthOf(t, "", "events {\non dispatch_failed oob_test\n}")
	events := subscribe(t)
	emit := allHandlers()[0].exchange.Observer.(*observer).emit
	for range 10 {
		emit(eventDispatchFailed, func() map[string]any { return map[string]any{} })
	}
	events.next(t)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
}

// Changes of targets are events of the name that says it, with hashes alone.
func TestEventsOfTargets(t *testing.T) {
	type emitted struct {
		name string
		data map[string]any
	}
	var got []emitted
	emit := emitter(func(name string, data func() map[string]any) { got = append(got, emitted{name, data()}) })
	for _, name := range []targets.EventName{targets.EventLearned, targets.EventKeyChanged, targets.EventExpired, targets.EventForgotten} {
		emit.target(targets.Event{Name: name, Ref: targets.Ref{ID: "canary"}, User: "canary", Source: "modify", Thumbprint: "T", Detail: "canary"}, "target-hash", "user-hash")
	}
	if len(got) != 2 || got[0].name != "key_changed" || got[1].name != "target_expired" {
		t.Fatalf("the events are %+v", got)
	}
	for _, e := range got {
		if len(e.data) != 4 || e.data["target"] != "target-hash" || e.data["user"] != "user-hash" || e.data["source"] != "modify" || e.data["thumbprint"] != "T" {
			t.Errorf("%s has %+v", e.name, e.data)
		}
	}
}

// Without a subscriber nothing is put together.
func TestEventsWithoutSubscriber(t *testing.T) {
	ctx, err := caddy.ProvisionContext(new(caddy.Config))
	if err != nil {
		t.Fatal(err)
	}
	emit, err := new(Handler).openEvents(ctx)
	if err != nil {
		t.Fatal(err)
	}
	emit(eventDispatchFailed, func() map[string]any {
		t.Error("the data of an event was put together")
		return nil
	})
}

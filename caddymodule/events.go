package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/exchange"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// The events that handlers of Caddy's events app can subscribe to. Their data are
// keyed hashes, and names from the configuration and from closed sets.
const (
	eventDispatchFailed    = "dispatch_failed"
	eventTargetExpired     = "target_expired"
	eventKeyChanged        = "key_changed"
	eventCredentialsFailed = "credentials_failed"
)

// emitter emits an event. data is asked for only where somebody subscribes to it.
// It does not block.
type emitter func(name string, data func() map[string]any)

func nowhere(string, func() map[string]any) {}

// maxEvents is how many events may wait for their subscribers. More are left out,
// which is logged: a subscriber that hangs holds up nothing.
const maxEvents = 1000

// openEvents returns the emitter of the configuration. Subscribers run one after
// the other, in a goroutine of their own.
func (h *Handler) openEvents(ctx caddy.Context) (emitter, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("getting the app of Caddy's events: %w", err)
	}
	events := app.(*caddyevents.App)
	type event struct {
		name string
		data map[string]any
	}
	waiting := make(chan event, maxEvents)
	go func() {
		for {
			select {
			case e := <-waiting:
				events.Emit(ctx, e.name, e.data)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func(name string, data func() map[string]any) {
		if !events.ShouldEmit(name) {
			return
		}
		select {
		case waiting <- event{name, data()}:
		default:
			h.logger.Warn("too many events wait for their subscribers; one is left out")
		}
	}, nil
}

// exchanged emits the event of a dispatch that failed.
func (emit emitter) exchanged(r exchange.Record) {
	if r.Class == dispatchers.Delivered || r.Result == exchange.Observed {
		return
	}
	emit(eventDispatchFailed, func() map[string]any {
		return filled(map[string]any{
			"operation": string(r.Operation), "dispatcher": r.Dispatcher, "result": string(r.Result),
			"class": string(r.Class), "reason": r.Reason,
			"user": r.User, "target": r.Target, "token": r.Token, "session": r.Session, "thumbprint": r.Thumbprint,
		})
	})
}

// target emits the event of a change of a target, if there is one. target and user
// are keyed hashes.
func (emit emitter) target(e targets.Event, target, user string) {
	var name string
	switch e.Name {
	case targets.EventExpired:
		name = eventTargetExpired
	case targets.EventKeyChanged:
		name = eventKeyChanged
	default:
		return
	}
	emit(name, func() map[string]any {
		return filled(map[string]any{"target": target, "user": user, "source": e.Source, "reason": e.Reason, "thumbprint": e.Thumbprint})
	})
}

// filled leaves out what there is not.
func filled(data map[string]any) map[string]any {
	for name, value := range data {
		if value == "" {
			delete(data, name)
		}
	}
	return data
}

// tellOfKey has the users told of what changed their keys. There is no request
// whose placeholders a notice could show, so that it has the server's alone.
func (h *Handler) tellOfKey(e targets.Event) {
	ctx := context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	h.exchange.KeyChanged((&http.Request{Header: http.Header{}, URL: new(url.URL)}).WithContext(ctx), e)
}

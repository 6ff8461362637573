package delivery

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// The options that name the dispatchers of notices, which have no other name.
const (
	OnExpired   = "on_expired"
	OnKeyChange = "on_key_change"
)

// Notice tells how a notice went. Nothing in it is secret.
type Notice struct {
	Dispatcher   string // OnExpired or OnKeyChange
	Event        string // what it tells of, see dispatchers.Message.Notice
	User, Target string // keyed hashes; "" where not known
	Class        dispatchers.Class
	Reason       string // of the failure; "" where it delivered
	Cause        string // what the log says of the failure; "" where it delivered
	Attempts     []Attempt
	Took         time.Duration
}

// The log messages of notices that were not delivered.
var (
	noticeLeftOut = map[string]string{
		OnExpired:   "too many notices of expired targets are under way; this one is left out",
		OnKeyChange: "too many notices of changed keys are under way; this one is left out",
	}
	noticeFailed = map[string]string{
		OnExpired:   "the notice of an expired target was not delivered",
		OnKeyChange: "the notice of a changed key was not delivered",
	}
)

// giveNotice tells the relying party that the address of the target is gone.
// The caller does not wait for that: it learns the same from its answer.
func (r *run) giveNotice() {
	r.courier.notify(r.courier.OnExpired, OnExpired, string(targets.EventExpired), r.dispatch.Username(), r.dispatch.Target.ID,
		func(context.Context) (*run, string, *dispatchers.Error) { return r, "", nil })
}

// KeyChanged tells the user, or the relying party, that a target was learned or has
// another key. Nobody waits for that, and nothing depends on it. r is for the
// placeholders of the server.
func (c *Courier) KeyChanged(r *http.Request, e targets.Event) {
	if !announced(e) {
		return
	}
	c.notify(c.OnKeyChange, OnKeyChange, string(e.Name), e.User, e.Ref.ID, func(ctx context.Context) (*run, string, *dispatchers.Error) {
		return c.prepareKeyNotice(ctx, r, e)
	})
}

// announced tells whether users hear of an event. A key source brings no news, and
// who creates or registers a known target anew has EventLearned as well.
func announced(e targets.Event) bool {
	made := e.Source == targets.SourceCreate || e.Source == targets.SourceRegistration
	switch e.Name {
	case targets.EventLearned:
		return made
	case targets.EventKeyChanged:
		return !made
	default:
		return false
	}
}

// prepareKeyNotice finds out where a notice goes. That is never the target that
// changed, which may be an attacker's by now: its address is not there to be used,
// and where another way leads to the same address, nothing is sent.
func (c *Courier) prepareKeyNotice(ctx context.Context, r *http.Request, e targets.Event) (*run, string, *dispatchers.Error) {
	target, err := c.Targets.Known(ctx, e.Ref.ID)
	switch {
	case errors.Is(err, targets.ErrNotFound): // it was deleted meanwhile
		target = &targets.Target{Namespace: e.Ref.Namespace, ID: e.Ref.ID, Username: e.User}
	case err != nil:
		return nil, "", dispatchers.Fail(dispatchers.Broken, "store_unavailable", "loading the dispatch target that changed: %w", err)
	}
	others := *target
	others.Address = ""
	run := c.newRun(Dispatch{ //nolint:contextcheck // its log is for r
		HTTP: r, Request: &nevisfido.DispatchRequest{TargetID: e.Ref.ID, Username: e.User}, Target: &others, Start: time.Now(),
	}, "")
	run.tokenHash = rand.Text() // for the ids at third parties
	to, failure := run.recipient(ctx, c.OnKeyChange)
	if failure == nil && to.address != "" && strings.EqualFold(to.address, target.Address) {
		failure = dispatchers.Fail(dispatchers.Refused, "own_target", "the notice would go to the address of the dispatch target that changed")
	}
	return run, to.address, failure
}

// notify gives a notice in the background, over a channel that may be nil. prepare
// says whose message it is, and the address.
func (c *Courier) notify(to *Channel, option, event, user, target string, prepare func(context.Context) (*run, string, *dispatchers.Error)) {
	if to == nil {
		return
	}
	start := time.Now()
	n := Notice{Dispatcher: option, Event: event, User: c.Hash.Of("user", user), Target: c.Hash.Of("target", target)}
	release := to.acquire()
	if release == nil {
		c.Log.Warn(noticeLeftOut[option], slog.String("target", n.Target))
		c.noticed(n, dispatchers.Fail(dispatchers.Refused, "busy", "%d notices are under way, the bound", cap(to.Slots)))
		return
	}
	c.Background(func() {
		defer release()
		ctx, cancel := context.WithTimeout(context.Background(), c.Deadline)
		defer cancel()
		run, address, failure := prepare(ctx)
		if failure == nil {
			m := run.baseMessage(ctx, to)
			m.Notice, m.Address = event, address
			_, failure = to.attempts(ctx, m, func(failure *dispatchers.Error, took time.Duration) {
				n.Attempts = append(n.Attempts, attemptOf(to.Name, failure, took))
			})
		}
		n.Took = time.Since(start)
		if failure != nil {
			c.Log.Warn(noticeFailed[option], slog.String("target", n.Target), slog.Any("error", failure))
		}
		c.noticed(n, failure)
	})
}

func (c *Courier) noticed(n Notice, failure *dispatchers.Error) {
	n.Class = dispatchers.Delivered
	if failure != nil {
		n.Class, n.Reason, n.Cause = failure.Class, failure.Reason, Cause(failure)
	}
	c.Noticed(n)
}

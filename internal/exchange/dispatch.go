package exchange

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"go.uber.org/zap"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// dispatch carries one dispatch exchange from the request to the answer.
func (x *Exchange) dispatch(w http.ResponseWriter, r *http.Request, op nevisfido.Operation, next Next) error {
	if !plainJSON(r.Header) {
		return statusError(http.StatusUnsupportedMediaType, "a dispatch request has to be application/json in UTF-8, without content coding")
	}
	body, err := readBody(w, r, x.MaxBody)
	switch {
	case errors.Is(err, errTooLarge):
		return statusError(http.StatusRequestEntityTooLarge, "the dispatch request exceeds max_body, %d bytes", x.MaxBody)
	case err != nil:
		return statusError(http.StatusBadRequest, "reading the dispatch request: %w", err)
	}
	request, err := nevisfido.ParseDispatchRequest(body)
	if err != nil {
		return statusError(http.StatusBadRequest, "the dispatch request is malformed: %w", err)
	}

	d := x.newDelivery(r, op, request)
	if failure := d.choose(); failure == nil && d.channel == nil {
		return next(w, withBody(r, body)) // nevisFIDO's own
	} else if failure != nil {
		return d.refuse(w, failure)
	}
	p, failure := d.guard()
	if failure != nil {
		return d.refuse(w, failure)
	}
	defer func() { d.leave(p, d.failure) }()
	return d.forward(w, next)
}

// choose finds the channel that was asked for: by name, or by the default of
// the stored target. d.channel stays nil where the call is nevisFIDO's.
func (d *delivery) choose() *dispatchers.Error {
	name := d.request.Dispatcher
	if name != "" && d.x.Channels[name] == nil {
		return nil
	}
	failure := d.findTarget()
	if name == "" && d.target != nil {
		name = d.target.Dispatcher
	}
	d.channel = d.x.Channels[name]
	if d.channel == nil && failure == nil {
		return nil
	}
	return failure
}

// findTarget loads the target of the request. Trouble with the store is never
// taken for a target that does not exist.
func (d *delivery) findTarget() *dispatchers.Error {
	id := d.request.TargetID
	if id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(d.r.Context(), d.x.Deadline)
	defer cancel()
	target, err := d.x.Targets.Find(targets.WithUsername(ctx, d.request.Username), id)
	switch {
	case errors.Is(err, targets.ErrNotFound):
		return nil
	case err != nil:
		return dispatchers.Fail(dispatchers.Broken, "store_unavailable", "loading the dispatch target: %w", err)
	}
	d.target = target
	return nil
}

// guard refuses what should not reach nevisFIDO at all. The caller gives the
// pass back with leave.
func (d *delivery) guard() (*pass, *dispatchers.Error) {
	if failure := d.barred(); failure != nil {
		return nil, failure
	}
	return d.admit(d.r.Context(), d.channel, d.x.Limits)
}

// barred refuses a target in quarantine. A composite may have members with
// another address.
func (d *delivery) barred() *dispatchers.Error {
	if d.channel.Composite != nil {
		return nil
	}
	return d.quarantined()
}

func (d *delivery) quarantined() *dispatchers.Error {
	if d.target == nil || d.target.State() != targets.Expired {
		return nil
	}
	return dispatchers.Fail(dispatchers.Expired, "quarantined", "the address of the dispatch target is gone; it has to be modified first")
}

func (d *delivery) serves(c *Channel) *dispatchers.Error {
	if c.serves(d.op, d.x.Channels) {
		return nil
	}
	return dispatchers.Fail(dispatchers.Refused, "operation", "dispatcher %q does not serve this operation; see its option operations", c.Name)
}

// A pass lets an exchange deliver over a channel.
type pass struct {
	channel string
	release func()          // of the place among those that deliver
	counted []targets.Count // against the channel's own limits
}

// leave gives a pass back. What failed through our own fault was not sent, and
// does not count against the channel's limits: one letter a day would come to
// none. The limits that hold for all count it, for nevisFIDO has made a token.
func (d *delivery) leave(p *pass, failure *dispatchers.Error) {
	p.release()
	if failure == nil || failure.Class != dispatchers.Broken || len(p.counted) == 0 || d.mayHaveDelivered(p.channel) {
		return
	}
	ctx, cancel := d.x.detached(d.r)
	defer cancel()
	if err := d.x.Limiter.GiveBack(ctx, p.counted); err != nil {
		d.x.Log.Warn("a dispatch that failed counts against the dispatcher's limits", zap.Error(err))
	}
}

// mayHaveDelivered tells of an attempt before the last whose outcome is not
// certain.
func (d *delivery) mayHaveDelivered(channel string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.record.Attempts, func(a Attempt) bool {
		return a.Dispatcher == channel && a.Class == dispatchers.Temporary
	})
}

// admit takes a place on a channel that serves the operation, and counts the
// dispatch against the channel's limits and the given ones.
func (d *delivery) admit(ctx context.Context, c *Channel, limits []dispatchers.Limit) (*pass, *dispatchers.Error) {
	if failure := d.serves(c); failure != nil {
		return nil, failure
	}
	release := c.acquire()
	if release == nil {
		return nil, dispatchers.Fail(dispatchers.Refused, "busy", "dispatcher %q has %d dispatches under way, its bound", c.Name, cap(c.Slots))
	}
	own, failure := d.limit(ctx, c, limits)
	if failure != nil {
		release()
		return nil, failure
	}
	if c.Composite != nil {
		own = nil // one member may have delivered where another failed
	}
	return &pass{c.Name, release, own}, nil
}

// limit counts the dispatch against the given limits and the channel's own,
// which it returns.
func (d *delivery) limit(ctx context.Context, c *Channel, limits []dispatchers.Limit) ([]targets.Count, *dispatchers.Error) {
	var counts []targets.Count
	var counted []dispatchers.Limit // of the counts, in their order
	add := func(dispatcher string, limits []dispatchers.Limit) {
		for _, limit := range limits {
			if key := d.counterKey(dispatcher, limit); key != "" {
				counts = append(counts, targets.Count{Key: key, N: limit.N, Window: limit.Window})
				counted = append(counted, limit)
			}
		}
	}
	add("", limits)
	common := len(counts)
	add(c.Name, c.Limits)
	if len(counts) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.x.Deadline)
	defer cancel()
	reached, err := d.x.Limiter.TakeAll(ctx, counts)
	if err != nil {
		return nil, dispatchers.Fail(dispatchers.Broken, "limiter_unavailable", "counting dispatches: %w", err)
	}
	if reached < 0 {
		return counts[common:], nil
	}
	limit := counted[reached]
	d.x.Observer.Limited(limit.Scope)
	return nil, dispatchers.Fail(dispatchers.Refused, "limited", "limit %s %d %s is reached", limit.Scope, limit.N, limit.Window)
}

// counterKey stands for whom a limit counts, and for the limit; "" where the
// request names nobody.
func (d *delivery) counterKey(dispatcher string, limit dispatchers.Limit) string {
	var subject string
	switch limit.Scope {
	case dispatchers.PerTarget:
		subject = d.request.TargetID
	case dispatchers.PerUser:
		subject = d.request.Username
	case dispatchers.PerClient:
		subject = d.x.ClientIP(d.r)
	}
	if subject == "" {
		return ""
	}
	id := fmt.Sprintf("%s|%s|%d|%s|%s", limit.Scope, dispatcher, limit.N, limit.Window, subject)
	return targets.Ref{Namespace: d.x.Targets.Namespace, ID: id}.Hash()
}

// refuse answers without a call to nevisFIDO.
func (d *delivery) refuse(w http.ResponseWriter, failure *dispatchers.Error) error {
	d.settle(failure)
	return writeJSON(w, http.StatusOK, nevisfido.RefusalAnswer(d.outcome()))
}

// forward asks nevisFIDO for a token and deals with its answer.
func (d *delivery) forward(w http.ResponseWriter, next Next) error {
	rec := newRecorder(w, d.x.MaxBody, func(status int, h http.Header) bool {
		return status == http.StatusOK && isJSON(h)
	})
	upstream := uncoded(withBody(d.r, d.request.WithDispatcher(d.x.UpstreamDispatcher)))
	ctx, cancel := context.WithCancel(upstream.Context())
	defer cancel()
	rec.stop = cancel
	if err := d.ask(rec, upstream.WithContext(ctx), next); err != nil {
		d.settle(dispatchers.Fail(dispatchers.Temporary, "upstream_unavailable", "asking nevisFIDO for a token: %w", err))
		return err
	}
	switch rec.state {
	case streaming:
		d.settle(d.withoutToken(rec.status))
		return nil
	case waiting:
		return d.unusable("it is empty")
	case refused:
		return d.unusable(rec.reason)
	case holding:
	}
	answer, err := nevisfido.ParseDispatchAnswer(rec.body.Bytes())
	if err != nil {
		return d.malformed(rec, err)
	}
	d.answer = answer
	if answer.Result == nevisfido.Dispatched {
		d.settle(d.deliver())
	} else {
		d.settle(d.declined())
	}
	return rec.replace(answer.WithOutcome(d.outcome()))
}

// withoutToken tells why there is an answer that is not about a token. Where
// the caller has gone the reverse proxy makes one up.
func (d *delivery) withoutToken(status int) *dispatchers.Error {
	if err := d.r.Context().Err(); err != nil {
		return dispatchers.Fail(dispatchers.Temporary, "caller_gone", "the caller left before nevisFIDO answered: %w", err)
	}
	return dispatchers.Fail(dispatchers.Refused, "upstream_status", "nevisFIDO answered with HTTP status %d instead of a token", status)
}

// ask forwards the request. The proxy panics when nevisFIDO's answer breaks
// off: that is not ours to stop, unless it was us who broke it off.
func (d *delivery) ask(rec *recorder, upstream *http.Request, next Next) (err error) {
	returned := false
	defer func() {
		switch {
		case rec.state == refused:
			cause := recover()
			if abort, ok := cause.(error); cause != nil && (!ok || !errors.Is(abort, http.ErrAbortHandler)) {
				panic(cause)
			}
			err = nil
		case !returned:
			d.settle(dispatchers.Fail(dispatchers.Temporary, "upstream_aborted", "nevisFIDO's answer broke off"))
		}
	}()
	err = next(rec, upstream)
	returned = true
	return err
}

// malformed deals with an answer that was not understood, so that nothing was
// dispatched. What is not JSON goes back as it is. What begins like JSON may
// hold nevisFIDO's own link, or tell a more lenient reader that all went well.
func (d *delivery) malformed(rec *recorder, err error) error {
	d.settle(dispatchers.Fail(dispatchers.Refused, "upstream_answer", "nevisFIDO's answer to the dispatch request is malformed: %w", err))
	text := bytes.TrimLeft(bytes.TrimPrefix(rec.body.Bytes(), []byte("\ufeff")), " \t\r\n")
	if !bytes.HasPrefix(text, []byte("{")) && !bytes.HasPrefix(text, []byte("[")) {
		return rec.relay()
	}
	return rec.replace(nevisfido.RefusalAnswer(d.outcome()))
}

// unusable answers in place of a nevisFIDO whose answer may say "dispatched"
// to a reader that is more lenient: nothing was.
func (d *delivery) unusable(reason string) error {
	failure := dispatchers.Fail(dispatchers.Broken, "upstream_answer", "nevisFIDO's answer to the dispatch request cannot be used: %s", reason)
	d.settle(failure)
	return &StatusError{http.StatusBadGateway, failure.Err}
}

// declined deals with a nevisFIDO that made no token. Its result stands,
// unless the fault is in the name that we put in.
func (d *delivery) declined() *dispatchers.Error {
	switch d.answer.Result {
	case nevisfido.DispatcherNotFound:
		return dispatchers.Fail(dispatchers.Broken, "upstream_dispatcher",
			"nevisFIDO does not know the dispatcher %q; configure one of its dispatchers of type link as upstream_dispatcher", d.x.UpstreamDispatcher)
	case nevisfido.DispatchTargetNotFound:
		d.forget()
	case "":
		return dispatchers.Fail(dispatchers.Refused, "upstream_answer", "nevisFIDO's answer has no dispatchResult")
	default:
	}
	d.result = d.answer.Result
	return dispatchers.Fail(dispatchers.Refused, "upstream_declined", "nevisFIDO did not dispatch: %s", known(d.answer.Result))
}

// forget drops a target that nevisFIDO does not know any more.
func (d *delivery) forget() {
	if d.request.TargetID == "" {
		return
	}
	ctx, cancel := d.x.detached(d.r)
	defer cancel()
	if err := d.x.Targets.Drop(ctx, d.request.TargetID); err != nil {
		d.x.Log.Warn("forgetting a dispatch target that nevisFIDO does not know", zap.Error(err))
	}
}

// known keeps text that nevisFIDO made up out of logs and labels.
func known(result nevisfido.DispatchResult) nevisfido.DispatchResult {
	switch result {
	case nevisfido.DispatchError, nevisfido.DispatchTargetExpired, nevisfido.DispatchTargetNotFound,
		nevisfido.DispatcherNotFound, nevisfido.UserNotFound, nevisfido.InternalError:
		return result
	default:
		return "unknown"
	}
}

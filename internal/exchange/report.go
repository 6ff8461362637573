package exchange

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/internal/tracing"
	"github.com/oob-dispatch/oob-dispatch/internal/visualcode"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Record tells of one dispatch.
type Record struct {
	delivery.Report

	Time       time.Time
	Took       time.Duration
	Operation  nevisfido.Operation
	Dispatcher string // configured name that was asked for
	Delivered  string // name of the member that delivered, or Dispatcher
	User       string // keyed hash of the target's user, or else of the one whom the caller names
	Target     string // keyed hash of the dispatch target's id
	Token      string // keyed hash of the token
	Session    string // keyed hash of nevisFIDO's session id
	Result     nevisfido.DispatchResult
	Class      dispatchers.Class
	Reason     string // of the failure; "" where it delivered
	Cause      string // what the log says of the failure; "" where it delivered
	TraceID    string // "" where there is no trace
	Test       bool   // an operator's, see Exchange.Send
}

// made returns the number of attempts that were made: a member that failed before
// has none.
func (r Record) made() (n int) {
	for _, a := range r.Attempts {
		if a.Made {
			n++
		}
	}
	return n
}

// Observed is the result in the record of a dispatch that was only watched.
const Observed nevisfido.DispatchResult = "observed"

// end reports a dispatch and answers the caller.
func (x *Exchange) end(d *delivery.Dispatch, e conclusion) error {
	x.report(d, e)
	return e.reply(x.outcome(d, e)) // where there is a token, recorder.replace (see forward)
}

// report tells the log and the observer. The observer waits for members that go
// on, and is told of all; the log and the caller do not wait.
func (x *Exchange) report(d *delivery.Dispatch, e conclusion) Record {
	took := time.Since(d.Start)
	record := x.newRecord(d, e, took)
	traceOutcome(tracing.Current(d.HTTP.Context()), record)
	x.log(tracing.Log(d.HTTP.Context(), x.Log), record, e.failure)
	rest := e.delivery.Receipt.Rest
	if rest == nil {
		x.Observer.Exchanged(record)
		return record
	}
	x.courier.Background(func() {
		rest()
		x.Observer.Exchanged(x.newRecord(d, e, took))
	})
	return record
}

// newRecord is the one place that makes a Record.
func (x *Exchange) newRecord(d *delivery.Dispatch, e conclusion, took time.Duration) Record {
	r := Record{
		Report: e.soFar(), Time: d.Start, Took: took,
		Operation: d.Operation, Delivered: e.delivery.Receipt.Dispatcher,
		User: x.Hash.Of("user", d.Username()), Target: x.targetHash(d.Request.TargetID),
		Token: x.Hash.Of("token", e.token), Session: x.Hash.Of("session", e.session),
		Result: inClosedSet(e.dispatchResult(), nevisfido.DispatchError), // the caller sees nevisFIDO's own
		Class:  dispatchers.Delivered, Test: e.test, TraceID: tracing.ID(d.HTTP.Context()),
	}
	if d.Channel != nil {
		r.Dispatcher = d.Channel.Name
	}
	if e.failure != nil {
		r.Class, r.Reason, r.Cause = e.failure.Class, e.failure.Reason, delivery.Cause(e.failure)
	}
	if d.Target != nil {
		r.Thumbprint = cmp.Or(r.Thumbprint, d.Target.Thumbprint)
	}
	return r
}

// inClosedSet keeps text that nevisFIDO made up out of logs and labels.
func inClosedSet(result, otherwise nevisfido.DispatchResult) nevisfido.DispatchResult {
	switch result {
	case nevisfido.Dispatched, nevisfido.DispatchError, nevisfido.DispatchTargetExpired, nevisfido.DispatchTargetNotFound,
		nevisfido.DispatcherNotFound, nevisfido.UserNotFound, nevisfido.InternalError, Observed:
		return result
	default:
		return otherwise
	}
}

func (*Exchange) log(log *slog.Logger, r Record, failure *dispatchers.Error) {
	if r.Test {
		log = log.With(slog.Bool("test", true))
	}
	ctx := context.Background()
	operation, dispatcher, target := slog.String("operation", string(r.Operation)), slog.String("dispatcher", r.Dispatcher), slog.String("target", r.Target)
	encryption, reason := slog.String("encryption", r.Encryption), slog.String("reason", r.Reason)
	if r.Result == Observed {
		log.LogAttrs(ctx, slog.LevelInfo, "observed a dispatch request", operation, dispatcher, target,
			encryption, slog.String("thumbprint", r.Thumbprint), slog.String("would_be", string(r.Class)), reason)
		return
	}
	token, result := slog.String("token", r.Token), slog.String("result", string(r.Result))
	attempts, took := slog.Int("attempts", r.made()), slog.Duration("took", r.Took)
	if failure == nil {
		log.LogAttrs(ctx, slog.LevelInfo, "dispatched", operation, dispatcher, target, token, result, attempts, took, encryption)
		return
	}
	level := slog.LevelWarn
	if failure.Class == dispatchers.Broken {
		level = slog.LevelError
	}
	log.LogAttrs(ctx, level, "not dispatched", operation, dispatcher, target, token, result, attempts, took,
		slog.String("class", string(r.Class)), reason, slog.Any("error", failure.Err))
}

// outcome is what the caller sees.
func (x *Exchange) outcome(d *delivery.Dispatch, e conclusion) nevisfido.Outcome {
	out := nevisfido.Outcome{Result: e.dispatchResult(), Dispatcher: d.Request.Dispatcher}
	if d.Channel != nil {
		out.Dispatcher = d.Channel.Name
	}
	if e.failure != nil {
		return out
	}
	response, err := json.Marshal(e.delivery.Receipt.Response)
	if err != nil {
		tracing.Log(d.HTTP.Context(), x.Log).Error("the dispatcher's response cannot be encoded", slog.String("type", fmt.Sprintf("%T", e.delivery.Receipt.Response)))
		response = []byte(`""`)
	}
	out.Dispatcher, out.Response = e.delivery.Receipt.Dispatcher, response
	out.VisualCode = visualcode.Digits(e.token, x.VisualCodeDigits)
	if x.VisualCodePicture && out.VisualCode != "" {
		out.VisualCodePicture = visualcode.New(e.token, x.VisualCodeDigits).SVG()
	}
	return out
}

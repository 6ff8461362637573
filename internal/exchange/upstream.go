package exchange

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/oob-dispatch/oob-dispatch/dispatchers"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/internal/tracing"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// forward asks nevisFIDO for a token. The answer is nil where there is none: then
// the conclusion says why.
func (x *Exchange) forward(w http.ResponseWriter, d *delivery.Dispatch, next Next) (conclusion, *nevisfido.DispatchAnswer) {
	rec := newRecorder(w, x.MaxBody, func(status int, h http.Header) bool {
		return status == http.StatusOK && isJSON(h)
	})
	switch err := x.ask(rec, d, next); {
	case errors.Is(err, errUpstreamTimeout):
		return failed(dispatchers.Fail(dispatchers.Temporary, "upstream_timeout", "%w, %s", err, x.UpstreamTimeout),
			func(nevisfido.Outcome) error { return &StatusError{http.StatusGatewayTimeout, err} }), nil
	case err != nil:
		return failed(dispatchers.Fail(dispatchers.Temporary, "upstream_unavailable", "asking nevisFIDO for a token: %w", err),
			func(nevisfido.Outcome) error { return err }), nil
	}
	switch rec.state {
	case streaming:
		return failed(withoutToken(d, rec.status), func(nevisfido.Outcome) error { return nil }), nil
	case waiting:
		return unusable("it is empty"), nil
	case refused:
		return unusable(rec.reason), nil
	case holding:
	}
	answer, err := nevisfido.ParseDispatchAnswer(rec.body.Bytes())
	if err != nil {
		return malformed(rec, err), nil
	}
	e := conclusion{token: answer.Token, session: answer.SessionID, reply: func(out nevisfido.Outcome) error { return rec.replace(answer.WithOutcome(out)) }}
	if answer.Result != nevisfido.Dispatched {
		e.failure, e.result = x.declined(d, answer.Result)
		return e, nil
	}
	return e, answer
}

var errUpstreamTimeout = errors.New("nevisFIDO took longer over the dispatch than upstream_timeout")

// ask forwards the request. The proxy panics when nevisFIDO's answer breaks
// off: that is not ours to stop, unless it was us who broke it off.
func (x *Exchange) ask(rec *recorder, d *delivery.Dispatch, next Next) (err error) {
	upstream := acceptIdentity(withBody(d.HTTP, d.Request.WithDispatcher(x.UpstreamDispatcher)))
	ctx, cancel := context.WithTimeoutCause(upstream.Context(), x.UpstreamTimeout, errUpstreamTimeout)
	defer cancel()
	rec.stop = cancel
	start, returned := time.Now(), false
	defer func() {
		x.Observer.Asked(time.Since(start))
		timeout := rec.state != streaming && context.Cause(ctx) == errUpstreamTimeout //nolint:errorlint // it is never wrapped
		if timeout && (err != nil || !returned) {
			err = errUpstreamTimeout
		}
		switch {
		case returned:
		case timeout, rec.state == refused: // forward looks at rec.state
			if cause := recover(); !isAbort(cause) {
				panic(cause)
			}
		default: // the panic goes on, and nobody else gets to report
			x.report(d, failed(dispatchers.Fail(dispatchers.Temporary, "upstream_aborted", "nevisFIDO's answer broke off"), nil))
		}
	}()
	err = next(rec, upstream.WithContext(ctx))
	returned = true
	return err
}

// isAbort tells whether a handler panicked to break off its answer, or did not
// panic.
func isAbort(cause any) bool {
	err, ok := cause.(error)
	return cause == nil || ok && errors.Is(err, http.ErrAbortHandler)
}

// withoutToken tells why there is an answer that is not about a token. Where
// the caller has gone the reverse proxy makes one up.
func withoutToken(d *delivery.Dispatch, status int) *dispatchers.Error {
	if err := d.HTTP.Context().Err(); err != nil {
		return dispatchers.Fail(dispatchers.Temporary, "caller_gone", "the caller left before nevisFIDO answered: %w", err)
	}
	return dispatchers.Fail(dispatchers.Refused, "upstream_status", "nevisFIDO answered with HTTP status %d instead of a token", status)
}

// unusable answers in place of a nevisFIDO whose answer may say "dispatched"
// to a reader that is more lenient: nothing was.
func unusable(reason string) conclusion {
	failure := dispatchers.Fail(dispatchers.Broken, "upstream_answer", "nevisFIDO's answer to the dispatch request cannot be used: %s", reason)
	return failed(failure, func(nevisfido.Outcome) error { return &StatusError{http.StatusBadGateway, failure.Err} })
}

// malformed deals with an answer that was not understood, so that nothing was
// dispatched. What is not JSON goes back as it is. What begins like JSON may
// hold nevisFIDO's own link, or tell a more lenient reader that all went well.
func malformed(rec *recorder, err error) conclusion {
	failure := dispatchers.Fail(dispatchers.Refused, "upstream_answer", "nevisFIDO's answer to the dispatch request is malformed: %w", err)
	text := bytes.TrimLeft(bytes.TrimPrefix(rec.body.Bytes(), []byte("\ufeff")), " \t\r\n")
	if !bytes.HasPrefix(text, []byte("{")) && !bytes.HasPrefix(text, []byte("[")) {
		return failed(failure, func(nevisfido.Outcome) error { return rec.relay() })
	}
	return failed(failure, func(out nevisfido.Outcome) error { return rec.replace(nevisfido.RefusalAnswer(out)) })
}

// declined deals with a nevisFIDO that made no token. Its result stands, unless
// the fault is in the name that we put in.
func (x *Exchange) declined(d *delivery.Dispatch, result nevisfido.DispatchResult) (*dispatchers.Error, nevisfido.DispatchResult) {
	switch result {
	case nevisfido.DispatcherNotFound:
		return dispatchers.Fail(dispatchers.Broken, "upstream_dispatcher",
			"nevisFIDO does not know the dispatcher %q; configure one of its dispatchers of type link as upstream_dispatcher", x.UpstreamDispatcher), ""
	case nevisfido.DispatchTargetNotFound:
		x.forget(d)
	case "":
		return dispatchers.Fail(dispatchers.Refused, "upstream_answer", "nevisFIDO's answer has no dispatchResult"), ""
	default:
		if strings.EqualFold(strings.TrimSpace(string(result)), string(nevisfido.Dispatched)) { // which a caller may take for it
			return dispatchers.Fail(dispatchers.Refused, "upstream_answer", "nevisFIDO's answer spells its dispatchResult in another way"), ""
		}
	}
	return dispatchers.Fail(dispatchers.Refused, "upstream_declined", "nevisFIDO did not dispatch: %s", inClosedSet(result, "unknown")), result
}

// forget drops a target that nevisFIDO no longer knows.
func (x *Exchange) forget(d *delivery.Dispatch) {
	if d.Request.TargetID == "" {
		return
	}
	ctx, cancel := x.detached(d.HTTP)
	defer cancel()
	if err := x.Targets.Drop(ctx, d.Request.TargetID); err != nil {
		tracing.Log(ctx, x.Log).Warn("forgetting a dispatch target that nevisFIDO does not know", slog.Any("error", err))
	}
}

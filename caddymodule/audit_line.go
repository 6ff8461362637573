package caddymodule

import (
	"bytes"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/oob-dispatch/oob-dispatch/internal/auditfile"
	"github.com/oob-dispatch/oob-dispatch/internal/delivery"
	"github.com/oob-dispatch/oob-dispatch/internal/exchange"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// auditTrail takes one audit line. It does not block.
type auditTrail func(at time.Time, event string, fields []zap.Field)

// logTrail hands lines to Caddy's logging, which adds its own time.
func logTrail(log *zap.Logger) auditTrail {
	return func(_ time.Time, event string, fields []zap.Field) { log.Info(event, fields...) }
}

// fileTrail appends lines to a chained file.
func fileTrail(file *auditfile.File) auditTrail {
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey: "time", MessageKey: "event", SkipLineEnding: true,
		EncodeTime: func(t time.Time, e zapcore.PrimitiveArrayEncoder) {
			e.AppendString(t.UTC().Format(auditfile.TimeLayout))
		},
	})
	return func(at time.Time, event string, fields []zap.Field) {
		line, err := encoder.EncodeEntry(zapcore.Entry{Time: at, Message: event}, fields)
		if err != nil { // no field of ours fails
			return
		}
		defer line.Free()
		file.Append(bytes.Clone(line.Bytes()))
	}
}

// exchanged writes a dispatch.
func (t auditTrail) exchanged(r exchange.Record) {
	t(r.Time.Add(r.Took), "dispatch", []zap.Field{
		zap.String("operation", string(r.Operation)),
		onlyTrue("test", r.Test),
		zap.String("dispatcher", r.Dispatcher),
		known("delivered", r.Delivered),
		known("user", r.User),
		known("target", r.Target),
		known("token", r.Token),
		known("session", r.Session),
		known("trace_id", r.TraceID),
		known("thumbprint", r.Thumbprint),
		known("alg", r.Alg),
		known("enc", r.Enc),
		known("encryption", r.Encryption),
		zap.String("result", string(r.Result)),
		zap.String("class", string(r.Class)),
		known("reason", r.Reason),
		known("cause", r.Cause),
		each("attempts", r.Attempts, attemptFields),
		each("fallbacks", r.Fallbacks, fallbackFields),
		zap.Int64("ms", r.Took.Milliseconds()),
	})
}

// noticed writes a notice.
func (t auditTrail) noticed(n delivery.Notice) {
	t(time.Now(), "notice", []zap.Field{
		zap.String("dispatcher", n.Dispatcher),
		zap.String("about", n.Event),
		known("user", n.User),
		known("target", n.Target),
		zap.String("class", string(n.Class)),
		known("reason", n.Reason),
		known("cause", n.Cause),
		each("attempts", n.Attempts, attemptFields),
		zap.Int64("ms", n.Took.Milliseconds()),
	})
}

func attemptFields(a delivery.Attempt) []zap.Field {
	return []zap.Field{
		zap.String("dispatcher", a.Dispatcher), zap.String("class", string(a.Class)),
		known("reason", a.Reason), known("cause", a.Cause), zap.Int64("ms", a.Took.Milliseconds()),
	}
}

func fallbackFields(f delivery.Fallback) []zap.Field {
	return []zap.Field{zap.String("from", f.From), zap.String("to", f.To), known("reason", f.Reason)}
}

// target writes a change of a dispatch target. target and user are keyed hashes;
// traceID is "" where there is no trace.
func (t auditTrail) target(e targets.Event, target, user, traceID string) {
	t(time.Now(), string(e.Name), []zap.Field{
		known("user", user),
		known("target", target),
		known("trace_id", traceID),
		zap.String("source", e.Source),
		known("reason", e.Reason),
		known("thumbprint", e.Thumbprint),
	})
}

// known leaves out what there is not.
func known(key, value string) zap.Field {
	if value == "" {
		return zap.Skip()
	}
	return zap.String(key, value)
}

// onlyTrue leaves out false.
func onlyTrue(key string, value bool) zap.Field {
	if !value {
		return zap.Skip()
	}
	return zap.Bool(key, value)
}

// each makes an array of objects, or nothing of none.
func each[T any](key string, values []T, fields func(T) []zap.Field) zap.Field {
	if len(values) == 0 {
		return zap.Skip()
	}
	objects := make([]zapcore.ObjectMarshaler, len(values))
	for i, v := range values {
		objects[i] = zap.DictObject(fields(v)...)
	}
	return zap.Objects(key, objects)
}

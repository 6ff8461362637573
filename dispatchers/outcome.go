package dispatchers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// Class says what an attempt that failed means for the caller and for
// repeating it.
type Class string

// The outcome classes.
const (
	Delivered Class = "delivered"
	// Expired: the address is gone for good, such as an uninstalled app. The
	// target is quarantined until it is modified.
	Expired Class = "expired"
	// NoTarget: the target is unknown, or has no address on this channel.
	NoTarget Class = "no_target"
	// NoKey: encryption is required and the target has no key that can be used.
	NoKey Class = "no_key"
	// Refused: the third party, or a limit, will not take this message.
	Refused Class = "refused"
	// Temporary: it may work later. The only class that is repeated.
	Temporary Class = "temporary"
	// Broken: the configuration or the sidecar itself is at fault.
	Broken Class = "broken"
)

// Classes returns all of them.
func Classes() []Class {
	return []Class{Delivered, Expired, NoTarget, NoKey, Refused, Temporary, Broken}
}

// Result returns what the caller sees of a class.
func (c Class) Result() nevisfido.DispatchResult {
	switch c {
	case Delivered:
		return nevisfido.Dispatched
	case Expired:
		return nevisfido.DispatchTargetExpired
	case NoTarget:
		return nevisfido.DispatchTargetNotFound
	case NoKey, Refused, Temporary:
		return nevisfido.DispatchError
	default:
		return nevisfido.InternalError
	}
}

// Valid reports whether c is one of the failure classes.
func (c Class) Valid() bool { return c != Delivered && slices.Contains(Classes(), c) }

// Error is a failed attempt.
type Error struct {
	Class Class
	// Reason is a short snake_case word from a closed set, fit for a metric
	// label, such as "unregistered".
	Reason string
	// RetryAfter is how long the third party asks to wait; 0 if it does not say.
	RetryAfter time.Duration
	// KeepTarget asks not to quarantine the target of an Expired address.
	KeepTarget bool
	// Err tells an operator what to change. It holds no token, address or
	// credential.
	Err error
}

// The reasons that several dispatchers have in common. A dispatcher has
// constants of its own for those that only it has.
const (
	ReasonNoAddress        = "no_address"
	ReasonBadAddress       = "bad_address"
	ReasonNoLink           = "base_url"
	ReasonEncoding         = "encoding"
	ReasonTooBig           = "too_big"
	ReasonRateLimited      = "rate_limited"
	ReasonUnavailable      = "unavailable"
	ReasonUnauthorized     = "unauthorized"
	ReasonNotFound         = "not_found"
	ReasonRedirect         = "redirect"
	ReasonRejected         = "rejected"
	ReasonUnexpectedStatus = "unexpected_status"
)

// Fail makes an *Error. The cause is formatted as fmt.Errorf does.
func Fail(class Class, reason, format string, args ...any) *Error {
	return &Error{Class: class, Reason: reason, Err: fmt.Errorf(format, args...)}
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%s): %v", e.Class, e.Reason, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// AsError turns any error into an *Error: an ended context is temporary, what
// carries no class is broken.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Class: Temporary, Reason: "timeout", Err: err}
	case errors.Is(err, context.Canceled):
		return &Error{Class: Temporary, Reason: "canceled", Err: err}
	}
	return &Error{Class: Broken, Reason: "unclassified", Err: err}
}

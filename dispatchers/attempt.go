package dispatchers

import (
	"context"
	"time"
)

type attemptKey struct{}

type attempt struct {
	all     context.Context // of all attempts
	timeout time.Duration
}

// Attempt returns the context of one attempt, which ends after timeout. It is
// for the caller of Dispatch; ctx ends with all attempts.
func Attempt(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithValue(ctx, attemptKey{}, attempt{ctx, timeout}), timeout)
}

// Begin is for a dispatcher that has waited for its turn, such as for one of a
// few connections: waiting is not sending. It returns the context for the
// attempt proper, which has the whole time of an attempt, as far as there is time
// for all attempts together. Without Attempt it is ctx.
func Begin(ctx context.Context) (context.Context, context.CancelFunc) {
	if a, ok := ctx.Value(attemptKey{}).(attempt); ok {
		return context.WithTimeout(a.all, a.timeout)
	}
	return context.WithCancel(ctx)
}

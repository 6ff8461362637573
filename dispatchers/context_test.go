package dispatchers

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestBegin: whoever has waited has the whole time of an attempt, but never more
// than all attempts have.
func TestBegin(t *testing.T) {
	for all, want := range map[time.Duration]time.Duration{time.Minute: 9 * time.Second, 7 * time.Second: 7 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), all)
			defer cancel()
			ctx, cancelAttempt := Attempt(ctx, 5*time.Second)
			defer cancelAttempt()
			time.Sleep(4 * time.Second)
			ctx, cancelBegun := Begin(ctx)
			defer cancelBegun()
			<-ctx.Done()
			if took := time.Since(start); took != want {
				t.Errorf("of %v for all attempts it took %v, want %v", all, took, want)
			}
		})
	}
	ctx, cancel := Begin(t.Context()) // not in an attempt
	defer cancel()
	if _, ok := ctx.Deadline(); ok || ctx.Err() != nil {
		t.Error("a context without an attempt got a deadline")
	}
}

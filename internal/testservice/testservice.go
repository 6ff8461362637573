// Package testservice has what the tests of several packages need: servers that
// run beside them, such as Postfix or Squid, pages that are generated, and the
// search for secrets in what a test has written.
package testservice

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

// patience is how long a server may take to do something.
const patience = 2 * time.Minute

// FreeAddress returns an address of this machine where nobody listens, with a
// port below the range from which the system gives ports to others, so that
// nobody takes it meanwhile.
func FreeAddress(t testing.TB) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000)) //nolint:gosec // no secret
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		if err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// Until waits for something that a server does, and fails with the server's
// logs if it does not.
func Until(t testing.TB, done func() bool, logs func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the server did not do what was waited for\n%s", logs())
		}
	}
}

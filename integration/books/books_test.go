package books

import (
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// The environment variables that make the tests longer; see docs/books.md.
const (
	booksVariable = "OOB_BOOKS" // a number of dispatches
	soakVariable  = "OOB_SOAK"  // a duration
)

// Of many dispatches at once, with faults at all parties, the books agree.
func TestBooks(t *testing.T) {
	t.Parallel()
	n := 1200
	if text := os.Getenv(booksVariable); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", booksVariable, err)
		}
	}
	p := start(t)
	p.fail(n)
	begin := time.Now()
	jobs := make(chan struct{})
	var callers sync.WaitGroup
	for range 24 {
		callers.Go(func() {
			for range jobs {
				p.dispatch()
			}
		})
	}
	for range n {
		jobs <- struct{}{}
	}
	close(jobs)
	callers.Wait()
	t.Logf("%d dispatches in %v", n, time.Since(begin).Round(time.Second))
	p.agree()
}

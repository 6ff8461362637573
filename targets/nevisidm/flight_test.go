package nevisidm

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/simulator/fault"
	"github.com/oob-dispatch/oob-dispatch/simulator/idm"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// arriving tells of each call before it is answered.
func arriving(arrived chan<- struct{}, then fault.Fault) fault.Fault {
	return func(w http.ResponseWriter, r *http.Request, regular http.Handler) {
		arrived <- struct{}{}
		then(w, r, regular)
	}
}

func TestEqualLookupsAreOne(t *testing.T) {
	server := start(t, idm.Options{})
	server.SetTarget("u-1", phone("one"))
	s := newSource(t, server, func(s *Source) { s.Timeout = caddy.Duration(time.Minute) })
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	server.Script(arriving(arrived, fault.Hold(release)))

	var first sync.WaitGroup
	impatient, hangUp := context.WithCancel(of(t, "u-1"))
	first.Go(func() {
		if _, err := s.Find(impatient, one); !errors.Is(err, context.Canceled) {
			t.Errorf("who hung up got error %v", err)
		}
	})
	<-arrived
	var joined, others sync.WaitGroup
	found := make(chan *targets.Target, 20)
	for range cap(found) {
		joined.Add(1)
		ctx := signalled{of(t, "u-1"), sync.OnceFunc(joined.Done)}
		others.Go(func() {
			target, err := s.Find(ctx, one)
			if err != nil {
				t.Error(err)
			}
			found <- target
		})
	}
	joined.Wait() // all wait for the answer
	hangUp()      // the lookup goes on without its first caller
	first.Wait()
	close(release)
	others.Wait()
	close(found)
	if n := len(server.Requests()); n != 1 {
		t.Errorf("nevisIDM was asked %d times", n)
	}
	seen := make(map[*targets.Target]bool)
	for target := range found {
		if seen[target] {
			t.Error("two callers got the same record")
		}
		seen[target] = true
	}
}

// signalled tells when somebody waits for its end.
type signalled struct {
	context.Context
	waiting func()
}

func (s signalled) Done() <-chan struct{} {
	s.waiting()
	return s.Context.Done()
}

func TestDifferentUsersAreNotMixed(t *testing.T) {
	server := start(t, idm.Options{})
	server.SetTarget("u-1", phone("one"))
	s := newSource(t, server, nil)
	var lookups sync.WaitGroup
	for range 8 {
		lookups.Go(func() {
			if _, err := s.Find(of(t, "u-1"), one); err != nil {
				t.Error(err)
			}
		})
		lookups.Go(func() {
			if _, err := s.Find(of(t, "u-2"), one); !errors.Is(err, targets.ErrNotFound) {
				t.Errorf("another user: got error %v", err)
			}
		})
	}
	lookups.Wait()
}

func TestTimeout(t *testing.T) {
	server := start(t, idm.Options{})
	server.Script(fault.Hold(nil))
	s := newSource(t, server, func(s *Source) { s.Timeout = caddy.Duration(time.Millisecond) })
	wantFailure(t, s, "deadline")
}

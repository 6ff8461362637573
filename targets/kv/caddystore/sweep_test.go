package caddystore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

type linkStore struct {
	*kv.Store
	backend *Store
	storage *hostileStorage
}

// newLinkStore returns a store that sweeps with the first link, unless swept.
func newLinkStore(storage *hostileStorage, swept bool) *linkStore {
	storage.mayList = true
	b := newBackend(storage)
	if swept {
		b.swept.Store(time.Now().Unix())
	}
	return &linkStore{kv.New(b, nil, time.Minute), b, storage}
}

func putLink(t *testing.T, s *linkStore, expires time.Time) (id string) {
	t.Helper()
	id = kvtest.LinkID(expires)
	if err := s.Put(t.Context(), id, []byte("content"), expires); err != nil {
		t.Fatal(err)
	}
	return id
}

// links returns the keys of the links that are kept.
func (s *linkStore) links() []string { return s.storage.keys(linkFolder + "/") }

// A link that cannot be deleted is not handed out: somebody else may get it.
func TestOutageIsNeverAMissingLink(t *testing.T) {
	down := errors.New("connection refused")
	s := newLinkStore(newHostileStorage(t), true)
	id := putLink(t, s, time.Now().Add(time.Minute))
	s.storage.fail("delete", down)
	if content, err := s.Take(t.Context(), id); !errors.Is(err, down) || errors.Is(err, shortlink.ErrNotFound) || content != nil {
		t.Errorf("Take returned %q, %v", content, err)
	}
}

func TestSweepRemovesExpiredLinks(t *testing.T) {
	for name, flat := range map[string]bool{"folders": false, "flat": true} {
		t.Run(name, func(t *testing.T) {
			s := newLinkStore(newHostileStorage(t), true)
			s.storage.flat = flat
			const other = linkFolder + "/notes/readme"
			s.storage.put(other, nil)
			want := []string{other}
			for _, age := range []time.Duration{-90 * 24 * time.Hour, -25 * time.Hour, -2 * time.Hour, -time.Hour, time.Minute, time.Hour, 30 * 24 * time.Hour} {
				for range 3 {
					id := putLink(t, s, time.Now().Add(age))
					if age > 0 {
						want = append(want, linkFolder+"/"+id[:4]+"/"+id[4:])
					}
				}
			}
			if err := s.backend.removeExpired(t.Context()); err != nil {
				t.Fatal(err)
			}
			slices.Sort(want)
			if got := s.links(); !slices.Equal(got, want) {
				t.Errorf("after the sweep there are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

func TestSweepOfAStorageThatFails(t *testing.T) {
	down := errors.New("connection refused")
	s := newLinkStore(newHostileStorage(t), true)
	putLink(t, s, time.Now().Add(-2*time.Hour))
	s.storage.fail("delete", down)
	if err := s.backend.removeExpired(t.Context()); !errors.Is(err, down) {
		t.Errorf("the sweep returned %v", err)
	}
	s.storage.setFault(nil)
	if err := s.backend.removeExpired(t.Context()); err != nil || len(s.links()) != 0 {
		t.Errorf("the next sweep returned %v and left %q", err, s.links())
	}
}

// The first link of an hour sweeps, while requests go on and until the
// configuration ends.
func TestSweepRunsDuringRequests(t *testing.T) {
	storage := newHostileStorage(t)
	putLink(t, newLinkStore(storage, true), time.Now().Add(-2*time.Hour))
	var sweeps atomic.Int32
	storage.setFault(func(_ context.Context, op, key string) error {
		if op == "list" && key == linkFolder {
			sweeps.Add(1)
		}
		return nil
	})
	s := newLinkStore(storage, false)
	for range 20 {
		id := putLink(t, s, time.Now().Add(time.Minute))
		if _, err := s.Take(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	testservice.Until(t, func() bool { return len(s.links()) == 0 }, func() string { return "the expired link is still there" })
	if n := sweeps.Load(); n != 1 {
		t.Errorf("%d sweeps in one hour", n)
	}
}

func TestSweepEndsWithTheConfiguration(t *testing.T) {
	storage := newHostileStorage(t)
	hangs, finished := make(chan struct{}), make(chan struct{})
	storage.setFault(func(ctx context.Context, op, _ string) error {
		if op == "list" {
			close(hangs)
			<-ctx.Done()
			close(finished)
		}
		return ctx.Err()
	})
	s := newLinkStore(storage, false)
	ctx, cancel := context.WithCancel(t.Context())
	s.backend.life = ctx
	putLink(t, s, time.Now().Add(time.Minute))
	<-hangs
	cancel()
	<-finished
}

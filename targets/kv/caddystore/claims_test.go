package caddystore

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/claimstest"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/seal"
)

// claimStorage is the file system with faults. It fails the test when a
// request calls what only a sweep may.
type claimStorage struct {
	*certmagic.FileStorage
	t *testing.T

	mu       sync.Mutex
	fault    func(op, key string) error
	sweeps   int
	mayList  bool
	flat     bool // folders are not deleted, and listings go all the way down
	hangs    chan struct{}
	finished chan struct{}
}

func newClaimStorage(t *testing.T) *claimStorage {
	return &claimStorage{FileStorage: &certmagic.FileStorage{Path: t.TempDir()}, t: t, mayList: true}
}

func (s *claimStorage) at(op, key string) error {
	if !strings.HasPrefix(key, "oob/claims") || strings.Contains(key, "..") {
		s.t.Errorf("%s of key %q", op, key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		return s.fault(op, key)
	}
	return nil
}

func (s *claimStorage) Load(ctx context.Context, key string) ([]byte, error) {
	if err := s.at("load", key); err != nil {
		return nil, err
	}
	return s.FileStorage.Load(ctx, key)
}

func (s *claimStorage) Store(ctx context.Context, key string, value []byte) error {
	if err := s.at("store", key); err != nil {
		return err
	}
	return s.FileStorage.Store(ctx, key, value)
}

func (s *claimStorage) Delete(ctx context.Context, key string) error {
	if err := s.at("delete", key); err != nil {
		return err
	}
	if s.flat && len(key) == len("oob/claims/0000") {
		return nil
	}
	return s.FileStorage.Delete(ctx, key)
}

func (s *claimStorage) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	s.mu.Lock()
	if !s.mayList || recursive {
		s.t.Errorf("List was called for %q, recursive %t", prefix, recursive)
	}
	if prefix == claimPrefix {
		s.sweeps++
	}
	s.mu.Unlock()
	if s.hangs != nil {
		close(s.hangs)
		<-ctx.Done()
		close(s.finished)
		return nil, ctx.Err()
	}
	names, err := s.FileStorage.List(ctx, prefix, s.flat)
	return append(names, prefix+"/../../targets", "oob/claims/00/00", "oob/claims", "", "x"), err
}

// files returns the names of what is kept, below the prefix of short links.
func (s *claimStorage) files() (names []string) {
	s.t.Helper()
	root := filepath.Join(s.Path, filepath.FromSlash(claimPrefix))
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			name, _ := filepath.Rel(root, path)
			names = append(names, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	return names
}

func newClaimStore(t *testing.T, storage certmagic.Storage) *Store {
	t.Helper()
	s := newStore(storage)
	t.Cleanup(func() {
		if err := s.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func putClaim(t *testing.T, s *Store, expires time.Time) (id string) {
	t.Helper()
	id = claimstest.ID(expires)
	if err := s.Put(t.Context(), id, []byte("content"), expires); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestClaimsKeepTheContract(t *testing.T) {
	t.Run("in clear", func(t *testing.T) {
		claimstest.Run(t, func(t *testing.T) shortlink.Store { return newClaimStore(t, newClaimStorage(t)) })
	})
	t.Run("sealed", func(t *testing.T) {
		claimstest.Run(t, func(t *testing.T) shortlink.Store {
			s := newClaimStore(t, newClaimStorage(t))
			s.ring = claimRing(t)
			return s
		})
	})
}

func claimRing(t *testing.T) *seal.Ring {
	t.Helper()
	ring, err := seal.NewRing(bytes.Repeat([]byte{7}, seal.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestSealedClaims(t *testing.T) {
	storage := newClaimStorage(t)
	s := newClaimStore(t, storage)
	s.ring = claimRing(t)
	expires := time.Now().Add(time.Minute)
	one, two := putClaim(t, s, expires), putClaim(t, s, expires)
	file := func(id string) string {
		key, err := claimKey(id)
		if err != nil {
			t.Fatal(err)
		}
		return storage.Filename(key)
	}
	content, err := os.ReadFile(file(one))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(content, []byte("content")) {
		t.Errorf("the storage holds %q", content)
	}
	if err := os.WriteFile(file(two), content, 0o600); err != nil {
		t.Fatal(err)
	}
	if content, err := s.Take(t.Context(), two); err == nil || errors.Is(err, shortlink.ErrNotFound) {
		t.Errorf("a claim that was put in the place of another gave %q, %v", content, err)
	}
}

func TestOutageIsNeverAMissingClaim(t *testing.T) {
	down := errors.New("connection refused")
	for _, failing := range []string{"load", "delete", "store"} {
		storage := newClaimStorage(t)
		s := newClaimStore(t, storage)
		id := putClaim(t, s, time.Now().Add(time.Minute))
		storage.mu.Lock()
		storage.fault = func(op, _ string) error {
			if op == failing {
				return down
			}
			return nil
		}
		storage.mu.Unlock()
		content, err := s.Take(t.Context(), id)
		switch {
		case failing == "store":
			if err := s.Put(t.Context(), claimstest.ID(time.Now()), []byte("x"), time.Now()); !errors.Is(err, down) {
				t.Errorf("Put returned %v", err)
			}
		case !errors.Is(err, down) || errors.Is(err, shortlink.ErrNotFound) || content != nil:
			t.Errorf("%s fails: Take returned %q, %v", failing, content, err)
		}
	}
}

func TestSweepRemovesExpiredClaims(t *testing.T) {
	for name, flat := range map[string]bool{"folders": false, "flat": true} {
		t.Run(name, func(t *testing.T) {
			storage := newClaimStorage(t)
			storage.flat = flat
			s := newClaimStore(t, storage)
			s.sweeper.next = time.Now().Add(time.Hour) // the test sweeps by itself
			now := time.Now()
			var want []string
			for _, age := range []time.Duration{-90 * 24 * time.Hour, -25 * time.Hour, -2 * time.Hour, -time.Hour, time.Minute, time.Hour, 30 * 24 * time.Hour} {
				for range 3 {
					id := putClaim(t, s, now.Add(age))
					if age > 0 {
						want = append(want, id[:4]+"/"+id[4:])
					}
				}
			}
			other := storage.Filename("oob/claims/notes/readme")
			if err := os.MkdirAll(filepath.Dir(other), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(other, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			want = append(want, "notes/readme")
			if err := s.sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := storage.files()
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("after the sweep there are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

func TestSweepOfAStorageThatFails(t *testing.T) {
	down := errors.New("connection refused")
	storage := newClaimStorage(t)
	s := newClaimStore(t, storage)
	s.sweeper.next = time.Now().Add(time.Hour)
	putClaim(t, s, time.Now().Add(-2*time.Hour))
	storage.fault = func(op, _ string) error {
		if op == "delete" {
			return down
		}
		return nil
	}
	if err := s.sweep(t.Context()); !errors.Is(err, down) {
		t.Errorf("the sweep returned %v", err)
	}
	storage.fault = nil
	if err := s.sweep(t.Context()); err != nil || len(storage.files()) != 0 {
		t.Errorf("the next sweep returned %v and left %q", err, storage.files())
	}
}

func TestSweepRunsBesideRequests(t *testing.T) {
	storage := newClaimStorage(t)
	s := newClaimStore(t, storage)
	for range 20 {
		id := putClaim(t, s, time.Now().Add(time.Minute))
		if _, err := s.Get(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Take(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	s.sweeper.running.Wait()
	storage.mu.Lock()
	sweeps := storage.sweeps
	storage.mayList = false // before the hour is over, nothing sweeps
	storage.mu.Unlock()
	if sweeps != 1 {
		t.Errorf("%d sweeps in one hour", sweeps)
	}
	putClaim(t, s, time.Now().Add(time.Minute))
	s.sweeper.running.Wait()
}

func TestCleanupEndsASweep(t *testing.T) {
	storage := newClaimStorage(t)
	storage.hangs, storage.finished = make(chan struct{}), make(chan struct{})
	s := newStore(storage)
	putClaim(t, s, time.Now().Add(time.Minute))
	<-storage.hangs
	if err := s.Cleanup(); err != nil {
		t.Fatal(err)
	}
	<-storage.finished
	s.sweeper.next = time.Time{}
	storage.mayList = false
	putClaim(t, s, time.Now().Add(time.Minute)) // by a request that still runs
	s.sweeper.running.Wait()
	if err := new(Store).Cleanup(); err != nil {
		t.Errorf("cleaning up a store that was never set up: %v", err)
	}
}

package caddystore

import (
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
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// linkStorage is the file system with faults. It fails the test when a
// request calls what only a sweep may.
type linkStorage struct {
	*certmagic.FileStorage
	t *testing.T

	mu       sync.Mutex
	fault    func(op, key string) error
	sweeps   int
	flat     bool // folders are not deleted, and listings go all the way down
	hangs    chan struct{}
	finished chan struct{}
}

func newLinkStorage(t *testing.T) *linkStorage {
	return &linkStorage{FileStorage: &certmagic.FileStorage{Path: t.TempDir()}, t: t}
}

func (s *linkStorage) at(op, key string) error {
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

func (s *linkStorage) Load(ctx context.Context, key string) ([]byte, error) {
	if err := s.at("load", key); err != nil {
		return nil, err
	}
	return s.FileStorage.Load(ctx, key)
}

func (s *linkStorage) Store(ctx context.Context, key string, value []byte) error {
	if err := s.at("store", key); err != nil {
		return err
	}
	return s.FileStorage.Store(ctx, key, value)
}

func (s *linkStorage) Delete(ctx context.Context, key string) error {
	if err := s.at("delete", key); err != nil {
		return err
	}
	if s.flat && len(key) == len("oob/claims/0000") {
		return nil
	}
	return s.FileStorage.Delete(ctx, key)
}

func (s *linkStorage) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	s.mu.Lock()
	if recursive {
		s.t.Errorf("List was called for %q, recursive %t", prefix, recursive)
	}
	if prefix == linkFolder {
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
func (s *linkStorage) files() (names []string) {
	s.t.Helper()
	root := filepath.Join(s.Path, filepath.FromSlash(linkFolder))
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

type linkStore struct {
	*kv.Store
	backend *Store
}

// newLinkStore returns a store that sweeps with the first link, unless swept.
func newLinkStore(storage certmagic.Storage, swept bool) *linkStore {
	b := newBackend(storage)
	if swept {
		b.swept.Store(time.Now().Unix())
	}
	return &linkStore{kv.New(b, nil, time.Minute), b}
}

func newID(expires time.Time) string {
	id, _ := shortlink.ID("test", shortlink.NewHandle(expires))
	return id
}

func putLink(t *testing.T, s *linkStore, expires time.Time) (id string) {
	t.Helper()
	id = newID(expires)
	if err := s.Put(t.Context(), id, []byte("content"), expires); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestOutageIsNeverAMissingLink(t *testing.T) {
	down := errors.New("connection refused")
	for _, failing := range []string{"load", "delete", "store"} {
		storage := newLinkStorage(t)
		s := newLinkStore(storage, true)
		id := putLink(t, s, time.Now().Add(time.Minute))
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
			if err := s.Put(t.Context(), newID(time.Now()), []byte("x"), time.Now()); !errors.Is(err, down) {
				t.Errorf("Put returned %v", err)
			}
		case !errors.Is(err, down) || errors.Is(err, shortlink.ErrNotFound) || content != nil:
			t.Errorf("%s fails: Take returned %q, %v", failing, content, err)
		}
	}
}

func TestSweepRemovesExpiredLinks(t *testing.T) {
	for name, flat := range map[string]bool{"folders": false, "flat": true} {
		t.Run(name, func(t *testing.T) {
			storage := newLinkStorage(t)
			storage.flat = flat
			s := newLinkStore(storage, true)
			now := time.Now()
			var want []string
			for _, age := range []time.Duration{-90 * 24 * time.Hour, -25 * time.Hour, -2 * time.Hour, -time.Hour, time.Minute, time.Hour, 30 * 24 * time.Hour} {
				for range 3 {
					id := putLink(t, s, now.Add(age))
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
			if err := s.backend.removeExpired(t.Context()); err != nil {
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
	storage := newLinkStorage(t)
	s := newLinkStore(storage, true)
	putLink(t, s, time.Now().Add(-2*time.Hour))
	storage.fault = func(op, _ string) error {
		if op == "delete" {
			return down
		}
		return nil
	}
	if err := s.backend.removeExpired(t.Context()); !errors.Is(err, down) {
		t.Errorf("the sweep returned %v", err)
	}
	storage.fault = nil
	if err := s.backend.removeExpired(t.Context()); err != nil || len(storage.files()) != 0 {
		t.Errorf("the next sweep returned %v and left %q", err, storage.files())
	}
}

// The first link of an hour sweeps, while requests go on and until the
// configuration ends.
func TestSweepRunsDuringRequests(t *testing.T) {
	storage := newLinkStorage(t)
	putLink(t, newLinkStore(storage, true), time.Now().Add(-2*time.Hour))
	s := newLinkStore(storage, false)
	for range 20 {
		id := putLink(t, s, time.Now().Add(time.Minute))
		if _, err := s.Take(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	testservice.Until(t, func() bool { return len(storage.files()) == 0 }, func() string { return "the expired link is still there" })
	storage.mu.Lock()
	defer storage.mu.Unlock()
	if storage.sweeps != 1 {
		t.Errorf("%d sweeps in one hour", storage.sweeps)
	}
}

func TestSweepEndsWithTheConfiguration(t *testing.T) {
	storage := newLinkStorage(t)
	storage.hangs, storage.finished = make(chan struct{}), make(chan struct{})
	s := newLinkStore(storage, false)
	ctx, cancel := context.WithCancel(t.Context())
	s.backend.life = ctx
	putLink(t, s, time.Now().Add(time.Minute))
	<-storage.hangs
	cancel()
	<-storage.finished
}

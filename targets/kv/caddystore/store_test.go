package caddystore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

// newStore returns a store that waits long: these tests are not about time.
func newStore(storage certmagic.Storage) *kv.Store { return hasty(storage, time.Minute) }

func hasty(storage certmagic.Storage, timeout time.Duration) *kv.Store {
	return kv.New(newBackend(storage), nil, timeout)
}

func newBackend(storage certmagic.Storage) *Store {
	s := &Store{Options: kv.Options{Timeout: caddy.Duration(time.Minute)}}
	s.start(context.Background(), storage, "")
	s.location = fmt.Sprintf("%p %d", storage, round.Load())
	return s
}

// round tells storages apart that have the same address one after the other.
var round atomic.Int64

// place is the storage's key of a record.
func place(ref targets.Ref) string {
	return new(Store).Place(kv.Key{Kind: kv.Records, Name: ref.Hash()})
}

// putOne stores the target "one".
func putOne(t *testing.T, s *kv.Store) targets.Ref {
	t.Helper()
	ref := targets.Ref{ID: "one"}
	if err := s.Update(t.Context(), ref, kvtest.To(kvtest.Target(ref))); err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestStoreKeepsTheContract(t *testing.T) {
	open := func(storage certmagic.Storage) *Store {
		round.Add(1)
		return newBackend(storage)
	}
	hostile := func(t *testing.T) *hostileStorage {
		s := newHostileStorage(t)
		s.mayList = true
		return s
	}
	t.Run("hostile", func(t *testing.T) {
		kvtest.Run(t, func(t *testing.T) kv.Backend { return open(hostile(t)) }, func(t *testing.T) kvtest.Outage {
			storage := hostile(t)
			return kvtest.Outage{
				Backend: open(storage),
				Down:    func() { storage.fail("", errors.New("connection refused")) },
				Up:      func() { storage.setFault(nil) },
				Because: regexp.MustCompile("connection refused"),
			}
		})
	})
	t.Run("files", func(t *testing.T) {
		kvtest.Run(t, func(t *testing.T) kv.Backend { return open(&certmagic.FileStorage{Path: t.TempDir()}) }, func(t *testing.T) kvtest.Outage {
			folder, away := filepath.Join(t.TempDir(), "storage"), filepath.Join(t.TempDir(), "away")
			return kvtest.Outage{
				Backend: open(&certmagic.FileStorage{Path: folder}),
				Down:    func() { mustDo(t, os.Rename(folder, away), os.WriteFile(folder, nil, 0o600)) },
				Up:      func() { mustDo(t, os.Remove(folder), os.Rename(away, folder)) },
				Because: regexp.MustCompile("not a directory"),
			}
		})
	})
}

func mustDo(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// A panic of the storage is an outage like any other, and quotes nothing.
func TestOutageIsNeverNotFound(t *testing.T) {
	storage := newHostileStorage(t)
	s := newStore(storage)
	storage.setFault(func(context.Context, string, string) error { panic("secret detail") })
	ref := targets.Ref{ID: "one"}
	if _, err := s.Load(t.Context(), ref); err == nil || errors.Is(err, targets.ErrNotFound) || strings.Contains(err.Error(), "secret") {
		t.Errorf("Load returned %v", err)
	}
	storage.setFault(nil)
	if _, err := s.Load(t.Context(), ref); !errors.Is(err, targets.ErrNotFound) {
		t.Errorf("after the outage Load returned %v, want ErrNotFound", err)
	}
}

func TestSlowStorageTimesOut(t *testing.T) {
	storage := newHostileStorage(t)
	s := hasty(storage, time.Millisecond)
	answer := make(chan struct{})
	storage.setFault(func(context.Context, string, string) error { <-answer; return nil })
	ref := targets.Ref{ID: "one"}
	if _, err := s.Load(t.Context(), ref); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Load returned %v, want a timeout", err)
	}
	if err := s.Update(t.Context(), ref, kvtest.To(nil)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Update returned %v, want a timeout", err)
	}
	close(answer)
	if _, err := newStore(storage).Load(t.Context(), ref); !errors.Is(err, targets.ErrNotFound) {
		t.Errorf("after the storage came back Load returned %v, want ErrNotFound", err)
	}
}

func TestStuckCallsAreBounded(t *testing.T) {
	storage := newHostileStorage(t)
	backend := newBackend(storage)
	s := kv.New(backend, nil, time.Minute)
	answer := make(chan struct{})
	t.Cleanup(func() { close(answer) })
	started := make(chan struct{}, maxCalls)
	storage.setFault(func(context.Context, string, string) error {
		started <- struct{}{}
		<-answer
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range maxCalls {
		wg.Go(func() {
			if _, err := s.Load(ctx, targets.Ref{ID: fmt.Sprint(i)}); !errors.Is(err, context.Canceled) {
				t.Errorf("a stuck call returned %v", err)
			}
		})
	}
	for range maxCalls {
		<-started
	}
	cancel()
	wg.Wait()
	s = kv.New(backend, nil, time.Millisecond)
	if _, err := s.Load(t.Context(), targets.Ref{ID: "one more"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call too many returned %v", err)
	}
	if len(started) > 0 {
		t.Error("a call too many reached the storage")
	}
}

// A write that was given up may happen later. Nobody else writes before that.
func TestLateWriteDoesNotOverwrite(t *testing.T) {
	storage := newHostileStorage(t)
	s := newStore(storage)
	ref := putOne(t, s)
	writing, goOn := make(chan struct{}), make(chan struct{})
	storage.setFault(func(_ context.Context, op, _ string) error {
		if op == "store" {
			close(writing)
			<-goOn
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error)
	go func() { gaveUp <- s.Update(ctx, ref, rename("first")) }()
	<-writing
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("the update that was given up returned %v", err)
	}
	storage.setFault(nil)

	// A second instance, as after a reload, waits for its turn.
	if err := hasty(storage, 10*time.Millisecond).Update(t.Context(), ref, rename("too early")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an update while another is stuck returned %v", err)
	}
	close(goOn)
	seen := ""
	if err := newStore(storage).Update(t.Context(), ref, func(current *targets.Target) (*targets.Target, error) {
		seen, current.Name = current.Name, "second"
		return current, nil
	}); err != nil || seen != "first" {
		t.Fatalf("the next update replaced %q, want the late write; error %v", seen, err)
	}
	if got, err := s.Load(t.Context(), ref); err != nil || got.Name != "second" {
		t.Errorf("in the end there is %+v, error %v", got, err)
	}
}

func rename(name string) targets.Edit {
	return func(current *targets.Target) (*targets.Target, error) {
		current.Name = name
		return current, nil
	}
}

// A volume that is not mounted for a while: nothing is unknown, nothing is
// changed, and no old key is there afterwards.
func TestVolumeThatIsNotMounted(t *testing.T) {
	dir := t.TempDir()
	mounted, away := filepath.Join(dir, "storage"), filepath.Join(dir, "away")
	round.Add(1)
	s := newStore(&certmagic.FileStorage{Path: mounted})
	ref := putOne(t, s)
	if err := os.Rename(mounted, away); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), ref); err == nil || errors.Is(err, targets.ErrNotFound) {
		t.Errorf("Load gave error %v", err)
	}
	for name, next := range map[string]*targets.Target{"changed": kvtest.Target(ref), "deleted": nil} {
		if err := s.Update(t.Context(), ref, kvtest.To(next)); err == nil {
			t.Errorf("the target was %s", name)
		}
	}
	if _, err := os.Stat(mounted); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was written in place of the volume: %v", err)
	}
	if err := os.Rename(away, mounted); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), ref); err != nil {
		t.Errorf("afterwards Load gave error %v", err)
	}
}

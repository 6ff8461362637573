package caddystore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/certmagic"
)

// hostileStorage is a Caddy storage in memory that does what real ones do at
// their worst. It fails the test when something is called that must not be in
// the path of a request.
type hostileStorage struct {
	t  *testing.T
	mu sync.Mutex

	values map[string][]byte

	// fault runs before each call and may fail it, wait or panic.
	fault func(ctx context.Context, op, key string) error

	mayList bool // the test is not about a request
	vanish  int  // so many listings end where a file has vanished
	flat    bool // folders are not deleted, and listings go all the way down
}

func newHostileStorage(t *testing.T) *hostileStorage {
	round.Add(1)
	return &hostileStorage{t: t, values: make(map[string][]byte)}
}

var (
	goodKey    = regexp.MustCompile(`^oob/(targets|lists|devices|store)/[0-9a-f]{2}/[0-9a-f]{62}$|^oob/claims/[0-9a-f]{4}/[0-9a-f]{64}$`)
	goodFolder = regexp.MustCompile(`^oob/(targets|lists|devices|store)/[0-9a-f]{2}$|^oob/claims(/[0-9a-f]{4})?$`)
)

func (s *hostileStorage) at(ctx context.Context, op, key string) error {
	if !goodKey.MatchString(key) && (!s.mayList || !goodFolder.MatchString(key)) {
		s.t.Errorf("%s of key %q, which is not made of a hash", op, key)
	}
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(ctx, op, key)
}

func (s *hostileStorage) setFault(fault func(ctx context.Context, op, key string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// fail makes all calls of a kind fail, "" for all kinds.
func (s *hostileStorage) fail(failing string, err error) {
	s.setFault(func(_ context.Context, op, _ string) error {
		if failing == "" || op == failing {
			return err
		}
		return nil
	})
}

// Load ignores the context, as most storages do, and wraps its errors.
func (s *hostileStorage) Load(ctx context.Context, key string) ([]byte, error) {
	if err := s.at(ctx, "load", key); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok := s.values[key]
	if !ok {
		return nil, fmt.Errorf("backend: key %s: %w", key, &fs.PathError{Op: "get", Path: key, Err: fs.ErrNotExist})
	}
	return slices.Clone(value), nil
}

func (s *hostileStorage) Store(ctx context.Context, key string, value []byte) error {
	if err := s.at(ctx, "store", key); err != nil {
		return err
	}
	s.put(key, value)
	return nil
}

func (s *hostileStorage) Delete(ctx context.Context, key string) error {
	if err := s.at(ctx, "delete", key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.values, key)
	for other := range s.values {
		if !s.flat && strings.HasPrefix(other, key+"/") {
			delete(s.values, other)
		}
	}
	return nil
}

func (s *hostileStorage) put(key string, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[key] = slices.Clone(value)
}

// keys returns those that begin with a prefix, in their order.
func (s *hostileStorage) keys(prefix string) (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.values {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (s *hostileStorage) Exists(context.Context, string) bool {
	s.t.Error("Exists was called: it hides errors")
	return true
}

// List returns what real storages do besides the keys.
func (s *hostileStorage) List(ctx context.Context, folder string, recursive bool) ([]string, error) {
	if !s.mayList || recursive {
		s.t.Errorf("List was called for %q, recursive %t", folder, recursive)
	}
	if err := s.at(ctx, "list", folder); err != nil {
		return nil, err
	}
	keys := s.keys(folder + "/")
	if len(keys) == 0 {
		return nil, &fs.PathError{Op: "list", Path: folder, Err: fs.ErrNotExist}
	}
	if s.vanish > 0 {
		s.vanish--
		return keys[:len(keys)/2], &fs.PathError{Op: "lstat", Path: folder + "/.tmp", Err: fs.ErrNotExist}
	}
	junk := []string{
		folder, folder + "/", folder + "/folder", folder + "/.tmp123", folder + "/../../targets", "x/" + keys[0], "",
		folder + "/" + strings.Repeat("A", 62), folder + "/" + strings.Repeat("0", 63), folder + "/x/" + strings.Repeat("0", 62),
	}
	if !s.flat {
		for i, key := range keys {
			name, _, _ := strings.Cut(strings.TrimPrefix(key, folder+"/"), "/")
			keys[i] = folder + "/" + name
		}
		keys = slices.Compact(keys)
	}
	return append(junk, keys...), nil
}

func (s *hostileStorage) Stat(_ context.Context, folder string) (certmagic.KeyInfo, error) {
	if len(s.keys(folder+"/")) == 0 {
		return certmagic.KeyInfo{}, fs.ErrNotExist
	}
	return certmagic.KeyInfo{Key: folder}, nil
}

func (s *hostileStorage) Lock(context.Context, string) error {
	s.t.Error("Lock was called")
	return errors.New("refused")
}

func (s *hostileStorage) Unlock(context.Context, string) error { return errors.New("refused") }

// Interface guard
var _ certmagic.Storage = (*hostileStorage)(nil)

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
	calls  int

	// fault runs before each call and may fail it, wait or panic.
	fault func(n int, op, key string) error

	mayList bool // the test is not about a request
	vanish  int  // so many listings end where a file has vanished
}

func newHostileStorage(t *testing.T) *hostileStorage {
	round.Add(1)
	return &hostileStorage{t: t, values: make(map[string][]byte)}
}

var goodKey = regexp.MustCompile(`^oob/(targets|lists|devices|store)/[0-9a-f]{2}/[0-9a-f]{62}$|^oob/claims/[0-9a-f]{4}/[0-9a-f]{64}$|^oob/devices$`)

func (s *hostileStorage) at(op, key string) error {
	if !goodKey.MatchString(key) {
		s.t.Errorf("%s of key %q, which is not made of a hash", op, key)
	}
	s.mu.Lock()
	s.calls++
	n, fault := s.calls, s.fault
	s.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(n, op, key)
}

func (s *hostileStorage) setFault(fault func(n int, op, key string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.fault = 0, fault
}

// Load ignores the context, as most storages do, and wraps its errors.
func (s *hostileStorage) Load(_ context.Context, key string) ([]byte, error) {
	if err := s.at("load", key); err != nil {
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

func (s *hostileStorage) Store(_ context.Context, key string, value []byte) error {
	if err := s.at("store", key); err != nil {
		return err
	}
	s.put(key, value)
	return nil
}

func (s *hostileStorage) Delete(_ context.Context, key string) error {
	if err := s.at("delete", key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.values, key)
	return nil
}

func (s *hostileStorage) get(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.values[key])
}

func (s *hostileStorage) put(key string, value []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[key] = slices.Clone(value)
}

func (s *hostileStorage) Exists(context.Context, string) bool {
	s.t.Error("Exists was called: it hides errors")
	return true
}

var goodFolder = regexp.MustCompile(`^oob/(targets|lists|devices|store)/[0-9a-f]{2}$`)

// List returns what real storages do besides the keys.
func (s *hostileStorage) List(_ context.Context, folder string, recursive bool) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mayList || recursive || !goodFolder.MatchString(folder) {
		s.t.Errorf("List was called for %q, recursive %t", folder, recursive)
	}
	var keys []string
	for key := range s.values {
		if strings.HasPrefix(key, folder+"/") {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, &fs.PathError{Op: "list", Path: folder, Err: fs.ErrNotExist}
	}
	if s.vanish > 0 {
		s.vanish--
		return keys[:len(keys)/2], &fs.PathError{Op: "lstat", Path: folder + "/.tmp", Err: fs.ErrNotExist}
	}
	junk := []string{
		folder, folder + "/", folder + "/folder", folder + "/.tmp123", "x/" + keys[0], "",
		folder + "/" + strings.Repeat("A", 62), folder + "/" + strings.Repeat("0", 63), folder + "/x/" + strings.Repeat("0", 62),
	}
	return append(junk, keys...), nil
}

func (s *hostileStorage) Stat(_ context.Context, folder string) (certmagic.KeyInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.values {
		if strings.HasPrefix(key, folder+"/") {
			return certmagic.KeyInfo{Key: folder}, nil
		}
	}
	return certmagic.KeyInfo{}, fs.ErrNotExist
}

func (s *hostileStorage) Lock(context.Context, string) error {
	s.t.Error("Lock was called")
	return errors.New("refused")
}

func (s *hostileStorage) Unlock(context.Context, string) error { return errors.New("refused") }

// Interface guard
var _ certmagic.Storage = (*hostileStorage)(nil)

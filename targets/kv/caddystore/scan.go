package caddystore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// Bounds of the listing of one folder.
const (
	listTimeout  = time.Minute
	listAttempts = 20
)

// hashDigits is the length of the names of records and lists.
const hashDigits = 64

// Scan implements kv.Backend.
func (s *Store) Scan(ctx context.Context, kind kv.Kind, f func(name string, v *kv.Value) error) error {
	return s.each(ctx, folderOf(kind), func(place, name string) error {
		v, err := s.readInTime(ctx, place)
		if v == nil || err != nil { // gone meanwhile, or the storage is down
			return err
		}
		return f(name, v)
	})
}

// each calls f for every key of a record below a folder, with the hash in it.
// The keys of one folder, of 256, are in memory at a time. Storages list what
// else they find as well, such as folders and files that were being written when
// a process died.
func (s *Store) each(ctx context.Context, root string, f func(place, name string) error) error {
	for i := range 256 {
		folder := fmt.Sprintf("%s/%02x", root, i)
		places, err := s.list(ctx, folder)
		if err != nil {
			return err
		}
		for _, place := range places {
			name := fmt.Sprintf("%02x", i) + path.Base(place)
			if place != folder+"/"+path.Base(place) || !isHash(name) {
				continue
			}
			if err := f(place, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) readInTime(ctx context.Context, place string) (*kv.Value, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.Timeout))
	defer cancel()
	return s.read(ctx, place)
}

// list returns the keys in a folder.
func (s *Store) list(ctx context.Context, folder string) ([]string, error) {
	for range listAttempts {
		places, err := s.listOnce(ctx, folder)
		if err == nil {
			return places, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("listing the storage: %w", err)
		}
		// Either the folder is missing, or a file of it vanished during the
		// listing, which then ended there.
		switch there, err := s.isThere(ctx, folder); {
		case err != nil:
			return nil, fmt.Errorf("listing the storage: %w", err)
		case !there:
			return nil, nil
		}
	}
	return nil, fmt.Errorf("listing the storage: folder %s changed %d times meanwhile", folder, listAttempts)
}

func (s *Store) listOnce(ctx context.Context, folder string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	listed := make(chan []string, 1)
	_, err := s.call(ctx, nil, func(ctx context.Context) ([]byte, error) {
		places, err := s.storage.List(ctx, folder, false)
		listed <- places
		return nil, err
	})
	if err != nil {
		return nil, err
	}
	return <-listed, nil
}

func (s *Store) isThere(ctx context.Context, place string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.Timeout))
	defer cancel()
	_, err := s.call(ctx, nil, func(ctx context.Context) ([]byte, error) {
		_, err := s.storage.Stat(ctx, place)
		return nil, err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func isHash(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == hashDigits
}

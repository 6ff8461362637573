package caddystore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// Bounds of the listing of one folder, one of 256.
const (
	listTimeout  = time.Minute
	listAttempts = 20
)

// hashDigits is the length of a Ref.Hash.
const hashDigits = 64

// Each implements targets.Lister. The keys of one folder are in memory at a
// time.
func (s *Store) Each(ctx context.Context, f func(*targets.Target, error) error) error {
	return s.eachKey(ctx, targetPrefix, func(key, hash string) error {
		data, err := s.readSealed(ctx, key)
		if data == nil || err != nil { // gone meanwhile, or the storage is down
			return err
		}
		record, _, err := s.ring.Open(data, key)
		if err != nil {
			return f(nil, &targets.RecordError{Hash: hash, Err: err})
		}
		t, err := targets.DecodeHash(record, hash)
		if err != nil {
			return f(nil, &targets.RecordError{Hash: hash, Err: err})
		}
		return f(t, nil)
	})
}

// Reseal implements targets.Resealer. Like every change, it is atomic within
// this process only: no other may serve the storage meanwhile.
func (s *Store) Reseal(ctx context.Context, f func(*targets.RecordError) error) (n int, err error) {
	for _, prefix := range []string{targetPrefix, devicePrefix} {
		err := s.eachKey(ctx, prefix, func(key, hash string) error {
			resealed, err := s.reseal(ctx, key)
			if resealed {
				n++
			}
			if damaged, ok := errors.AsType[*targets.RecordError](err); ok {
				damaged.Hash = hash
				return f(damaged)
			}
			return err
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (s *Store) reseal(ctx context.Context, key string) (resealed bool, err error) {
	h, err := s.hold(ctx, key)
	if err != nil {
		return false, err
	}
	defer h.release()
	data, err := s.readSealed(ctx, key)
	if data == nil || err != nil {
		return false, err
	}
	record, current, err := s.ring.Open(data, key)
	if err != nil {
		return false, &targets.RecordError{Err: err}
	}
	if current {
		return false, nil
	}
	if err := s.write(ctx, h, key, record); err != nil {
		return false, err
	}
	return true, nil
}

// eachKey calls f for every key of a record under a prefix, with the hash in
// it. Storages list what else they find as well, such as folders and files
// that were being written when a process died.
func (s *Store) eachKey(ctx context.Context, prefix string, f func(key, hash string) error) error {
	for i := range 256 {
		folder := fmt.Sprintf("%s%02x", prefix, i)
		names, err := s.list(ctx, folder)
		if err != nil {
			return err
		}
		for _, name := range names {
			hash := fmt.Sprintf("%02x", i) + path.Base(name)
			if name != folder+"/"+path.Base(name) || !isHash(hash) {
				continue
			}
			if err := f(name, hash); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) list(ctx context.Context, folder string) ([]string, error) {
	for range listAttempts {
		names, err := s.listOnce(ctx, folder)
		if err == nil {
			return names, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("listing the storage: %w", err)
		}
		// Either the folder is missing, or a file of it vanished during the
		// listing, which then ended there.
		_, err = s.call(ctx, nil, func(ctx context.Context) ([]byte, error) {
			_, err := s.storage.Stat(ctx, folder)
			return nil, err
		})
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("listing the storage: %w", err)
		}
	}
	return nil, fmt.Errorf("listing the storage: folder %s changed %d times meanwhile", folder, listAttempts)
}

func (s *Store) listOnce(ctx context.Context, folder string) (names []string, err error) {
	listed := make(chan []string, 1)
	_, err = s.callFor(ctx, listTimeout, nil, func(ctx context.Context) ([]byte, error) {
		names, err := s.storage.List(ctx, folder, false)
		listed <- names
		return nil, err
	})
	if err != nil {
		return nil, err
	}
	return <-listed, nil
}

func isHash(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == hashDigits
}

// Interface guards
var (
	_ targets.Lister   = (*Store)(nil)
	_ targets.Resealer = (*Store)(nil)
)

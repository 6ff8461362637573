package caddystore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"syscall"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// Bounds of a listing.
const (
	listTimeout  = time.Minute
	listAttempts = 20
)

// get is read as a call of its own, and drop is remove.
func (s *Store) get(ctx context.Context, place string) (*kv.Value, error) {
	return call(ctx, s, "", func(ctx context.Context) (*kv.Value, error) { return s.read(ctx, place) })
}

func (s *Store) drop(ctx context.Context, place string) error {
	_, err := call(ctx, s, "", func(ctx context.Context) (none struct{}, err error) { return none, s.remove(ctx, place) })
	return err
}

// read returns what is under a key of the storage, nil where there is nothing.
// What a file storage would ask the kernel for, in seven calls, is the largest
// part of what a dispatch costs before it is forwarded.
func (s *Store) read(ctx context.Context, place string) (*kv.Value, error) {
	if files, ok := s.storage.(*certmagic.FileStorage); ok {
		if data, ok := readSmall(files.Filename(place)); ok {
			return value(data), nil
		}
	}
	data, err := s.storage.Load(ctx, place)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading from storage: %w", err)
	}
	return value(data), nil
}

func value(data []byte) *kv.Value { return &kv.Value{Data: data, Version: string(data)} }

// readSmall reads a file of less than 4 KiB, as records are. It does not say
// why it could not.
func readSmall(name string) (data []byte, ok bool) {
	file, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, false
	}
	defer func() { _ = syscall.Close(file) }()
	data = make([]byte, 4<<10)
	n, err := syscall.Read(file, data)
	if err != nil || n == len(data) {
		return nil, false
	}
	if more, err := syscall.Read(file, data[n:]); err != nil || more != 0 {
		return nil, false
	}
	return data[:n], true
}

// write and remove do nothing any more when nobody waits for it.
func (s *Store) write(ctx context.Context, place string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.storage.Store(ctx, place, data); err != nil {
		return fmt.Errorf("writing to storage: %w", err)
	}
	return nil
}

func (s *Store) remove(ctx context.Context, place string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.storage.Delete(ctx, place); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting from storage: %w", err)
	}
	return nil
}

// list returns the keys in a folder, of which some storages know also what is
// further below.
func (s *Store) list(ctx context.Context, folder string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	return call(ctx, s, "", func(ctx context.Context) ([]string, error) {
		for range listAttempts {
			places, err := s.storage.List(ctx, folder, false)
			if errors.Is(err, fs.ErrNotExist) {
				// Either the folder is missing, or a file of it vanished during
				// the listing, which then ended there.
				if _, err = s.storage.Stat(ctx, folder); err == nil {
					continue
				}
			}
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return nil, nil
			case err != nil:
				return nil, fmt.Errorf("listing the storage: %w", err)
			}
			return places, nil
		}
		return nil, fmt.Errorf("listing the storage: folder %s changed %d times meanwhile", folder, listAttempts)
	})
}

// Scan implements kv.Backend.
func (s *Store) Scan(ctx context.Context, kind kv.Kind, f func(name string, v *kv.Value) error) error {
	return s.each(ctx, folders[kind], func(place, name string) error {
		reading, cancel := context.WithTimeout(ctx, time.Duration(s.Timeout))
		defer cancel()
		v, err := s.get(reading, place)
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
			if place != folder+"/"+path.Base(place) || !targets.IsHash(name) {
				continue
			}
			if err := f(place, name); err != nil {
				return err
			}
		}
	}
	return nil
}

package kv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
)

func linkKey(id string) (Key, error) {
	if !shortlink.ValidID(id) {
		return Key{}, errors.New("the id of a short link is not valid")
	}
	return Key{Links, id}, nil
}

// Put implements shortlink.Store.
func (s *Store) Put(ctx context.Context, id string, content []byte, expires time.Time) error {
	key, err := linkKey(id)
	if err != nil {
		return err
	}
	left := time.Until(expires)
	switch {
	case len(content) > shortlink.MaxContent:
		return fmt.Errorf("the content of a short link has %d bytes, more than %d", len(content), shortlink.MaxContent)
	case left > shortlink.MaxLifetime:
		return fmt.Errorf("a short link lives for %s, longer than %s", left, shortlink.MaxLifetime)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return s.backend.Put(ctx, key, s.ring.Seal(content, s.backend.Place(key)), expires)
}

// Get implements shortlink.Store.
func (s *Store) Get(ctx context.Context, id string) ([]byte, error) {
	return s.link(ctx, id, func(ctx context.Context, key Key) ([]byte, error) {
		v, err := s.backend.Get(ctx, key)
		if v == nil || err != nil {
			return nil, err
		}
		return v.Data, nil
	})
}

// Take implements shortlink.Store.
func (s *Store) Take(ctx context.Context, id string) ([]byte, error) {
	return s.link(ctx, id, s.backend.Take)
}

func (s *Store) link(ctx context.Context, id string, read func(context.Context, Key) ([]byte, error)) ([]byte, error) {
	key, err := linkKey(id)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	data, err := read(ctx, key)
	switch {
	case err != nil:
		return nil, err
	case data == nil:
		if err := s.missing(ctx); err != nil {
			return nil, err
		}
		return nil, shortlink.ErrNotFound
	case len(data) > shortlink.MaxContent+Overhead:
		return nil, errors.New("reading a short link: it is larger than any that was written")
	}
	content, _, err := s.ring.Open(data, s.backend.Place(key))
	if err != nil {
		return nil, fmt.Errorf("opening a short link: %w", err)
	}
	return content, nil
}

// Interface guard
var _ shortlink.Store = (*Store)(nil)

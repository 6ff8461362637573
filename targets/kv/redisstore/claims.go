package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/seal"
)

func (s *Store) claimKey(id string) (string, error) {
	if !shortlink.ValidID(id) {
		return "", errors.New("not the id of a claim")
	}
	return s.KeyPrefix + "claim:" + id, nil
}

// Put implements shortlink.Store. Redis drops the claim by itself, by its own
// clock.
func (s *Store) Put(ctx context.Context, id string, content []byte, expires time.Time) error {
	key, err := s.claimKey(id)
	if err != nil {
		return err
	}
	left := time.Until(expires)
	switch {
	case len(content) > shortlink.MaxContent:
		return fmt.Errorf("the content of a claim has %d bytes, more than %d", len(content), shortlink.MaxContent)
	case left > shortlink.MaxLifetime:
		return fmt.Errorf("a claim lives for %s, longer than %s", left, shortlink.MaxLifetime)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	left = max(left, 0).Truncate(time.Millisecond) + time.Millisecond // never dropped early, never kept for good
	if err := s.shared.Set(ctx, key, s.ring.Seal(content, key), left).Err(); err != nil {
		return fmt.Errorf("writing a claim to redis: %w", err)
	}
	return nil
}

// Get implements shortlink.Store.
func (s *Store) Get(ctx context.Context, id string) ([]byte, error) {
	return s.claim(ctx, id, func(ctx context.Context, key string) (string, error) {
		return s.shared.Get(ctx, key).Result()
	})
}

// Take implements shortlink.Store, for all sidecars together.
func (s *Store) Take(ctx context.Context, id string) ([]byte, error) {
	return s.claim(ctx, id, func(ctx context.Context, key string) (string, error) {
		cmd := once{redis.NewStringCmd(ctx, "getdel", key)}
		err := s.shared.Process(ctx, cmd)
		return cmd.Val(), err
	})
}

// once is a command that the client does not repeat when its answer is lost:
// the second answer to GETDEL would be that there is nothing.
type once struct{ *redis.StringCmd }

// NoRetry implements redis.Cmder.
func (once) NoRetry() bool { return true }

func (s *Store) claim(ctx context.Context, id string, ask func(ctx context.Context, key string) (string, error)) ([]byte, error) {
	key, err := s.claimKey(id)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	value, err := ask(ctx, key)
	switch {
	case errors.Is(err, redis.Nil):
		return nil, shortlink.ErrNotFound
	case err != nil:
		return nil, fmt.Errorf("reading a claim from redis: %w", err)
	case len(value) > shortlink.MaxContent+seal.Overhead:
		return nil, errors.New("reading a claim from redis: it is larger than any that was written")
	}
	content, _, err := s.ring.Open([]byte(value), key)
	if err != nil {
		return nil, fmt.Errorf("opening a claim that redis holds: %w", err)
	}
	return content, nil
}

// Interface guard
var _ shortlink.Store = (*Store)(nil)

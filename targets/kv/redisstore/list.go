package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// batch is about how many keys are in memory at a time.
const batch = 500

// Each implements targets.Lister.
func (s *Store) Each(ctx context.Context, f func(*targets.Target, error) error) error {
	prefix := s.targetKey("")
	return s.scan(ctx, prefix, func(keys []string) error {
		values, err := s.readAll(ctx, keys)
		if err != nil {
			return err
		}
		for i, key := range keys {
			if err := ctx.Err(); err != nil {
				return err
			}
			if values[i] == nil { // gone meanwhile
				continue
			}
			hash := strings.TrimPrefix(key, prefix)
			t, err := s.decode(*values[i], key, hash)
			if err != nil {
				err = &targets.RecordError{Hash: hash, Err: err}
			}
			if err := f(t, err); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) decode(value, key, hash string) (*targets.Target, error) {
	record, err := s.open(parse(value), key)
	if err != nil {
		return nil, err
	}
	return targets.DecodeHash(record, hash)
}

// readAll returns what is under the keys, nil where there is nothing.
func (s *Store) readAll(ctx context.Context, keys []string) ([]*string, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	results, err := s.shared.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range keys {
			p.Get(ctx, key)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("reading from redis: %w", err)
	}
	values := make([]*string, len(keys))
	for i, result := range results {
		value, err := result.(*redis.StringCmd).Result()
		switch {
		case errors.Is(err, redis.Nil):
		case err != nil:
			return nil, fmt.Errorf("reading from redis: %w", err)
		default:
			values[i] = &value
		}
	}
	return values, nil
}

// scan calls f with the keys that begin with a prefix, never concurrently.
func (s *Store) scan(ctx context.Context, prefix string, f func(keys []string) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var failed error
	err := s.eachNode(ctx, func(ctx context.Context, node redis.Cmdable) error {
		return s.scanNode(ctx, node, prefix, func(keys []string) error {
			mu.Lock()
			defer mu.Unlock()
			if failed == nil {
				failed = f(keys)
			}
			if failed != nil {
				cancel() // the other nodes
			}
			return failed
		})
	})
	if failed != nil {
		return failed
	}
	return err
}

// eachNode calls f for the server, or for every master of a cluster at once.
func (s *Store) eachNode(ctx context.Context, f func(context.Context, redis.Cmdable) error) error {
	cluster, ok := s.shared.UniversalClient.(*redis.ClusterClient)
	if !ok {
		return f(ctx, s.shared)
	}
	return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return f(ctx, node) })
}

func (s *Store) scanNode(ctx context.Context, node redis.Cmdable, prefix string, f func(keys []string) error) error {
	cursor := uint64(0)
	for {
		keys, next, err := s.scanOnce(ctx, node, cursor, prefix)
		if err != nil {
			return err
		}
		if err := f(keys); err != nil {
			return err
		}
		if next == 0 {
			return nil
		}
		cursor = next
	}
}

func (s *Store) scanOnce(ctx context.Context, node redis.Cmdable, cursor uint64, prefix string) (keys []string, next uint64, err error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	keys, next, err = node.Scan(ctx, cursor, prefix+"*", batch).Result()
	if err != nil {
		return nil, 0, fmt.Errorf("listing redis: %w", err)
	}
	return keys, next, nil
}

// Interface guard
var _ targets.Lister = (*Store)(nil)

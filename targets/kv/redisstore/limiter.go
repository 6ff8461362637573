package redisstore

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

//go:embed take.lua
var takeText string

var takeScript = redis.NewScript(takeText)

// Counter implements kv.Backend.
func (s *Store) Counter() targets.Counter { return s }

// TakeAll implements targets.Counter. The keys have a hash tag in common,
// so that one node of a cluster counts for all: otherwise a dispatch could not
// be counted for a target, a user and a client at once, or for none of them.
func (s *Store) TakeAll(ctx context.Context, counts []targets.Count) (reached int, err error) {
	if len(counts) == 0 {
		return -1, nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.Timeout))
	defer cancel()
	keys := s.counterKeys(counts)
	args := []any{newVersion()}
	for _, c := range counts {
		args = append(args, c.N, max(c.Window.Microseconds(), 1))
	}
	n, err := takeScript.Run(ctx, s.shared, keys, args...).Int()
	if err != nil {
		return -1, fmt.Errorf("counting in redis: %w", err)
	}
	return n - 1, nil
}

// GiveBack implements targets.Counter.
func (s *Store) GiveBack(ctx context.Context, counts []targets.Count) error {
	if len(counts) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.Timeout))
	defer cancel()
	_, err := s.shared.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range s.counterKeys(counts) {
			p.ZPopMax(ctx, key)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("giving back a count in redis: %w", err)
	}
	return nil
}

func (s *Store) counterKeys(counts []targets.Count) []string {
	keys := make([]string, len(counts))
	for i, c := range counts {
		keys[i] = s.KeyPrefix + "{limit}:" + c.Key
	}
	return keys
}

// Interface guard
var _ targets.Counter = (*Store)(nil)

package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// Reseal implements targets.Resealer. Sidecars may go on working meanwhile.
func (s *Store) Reseal(ctx context.Context, f func(*targets.RecordError) error) (n int, err error) {
	for prefix, reseal := range map[string]func(context.Context, string) (int, error){
		s.targetKey(""):         s.resealTarget,
		s.KeyPrefix + "device:": s.resealDevice,
	} {
		err := s.scan(ctx, prefix, func(keys []string) error {
			for _, key := range keys {
				resealed, err := reseal(ctx, key)
				n += resealed
				if damaged, ok := errors.AsType[*targets.RecordError](err); ok {
					damaged.Hash = strings.TrimPrefix(key, prefix)
					err = f(damaged)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (s *Store) resealTarget(ctx context.Context, key string) (int, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	for attempt := range maxAttempts {
		old, err := s.read(ctx, key)
		if old == nil || err != nil {
			return 0, err
		}
		record, current, err := s.ring.Open(old.record, key)
		if err != nil {
			return 0, &targets.RecordError{Err: err}
		}
		if current {
			return 0, nil
		}
		done, err := s.swap(ctx, key, old, &stored{version: newToken(), entry: old.entry, record: s.ring.Seal(record, key)})
		if err != nil {
			return 0, err
		}
		if done {
			return 1, nil
		}
		if err := pause(ctx, attempt); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("resealing in redis: others changed the record %d times meanwhile", maxAttempts)
}

// resealDevice seals the entries of a device's list. One that is removed
// meanwhile may come back, which does no harm.
func (s *Store) resealDevice(ctx context.Context, key string) (n int, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	entries, err := s.shared.HGetAll(ctx, key).Result()
	if err != nil {
		return 0, fmt.Errorf("reading the list of a device's targets from redis: %w", err)
	}
	var damaged error
	for entry, value := range entries {
		id, current, err := s.ring.Open([]byte(value), place(key, entry))
		if err != nil {
			damaged = &targets.RecordError{Err: err}
			continue
		}
		if current {
			continue
		}
		if err := s.shared.HSet(ctx, key, entry, s.ring.Seal(id, place(key, entry))).Err(); err != nil {
			return n, fmt.Errorf("writing the list of a device's targets to redis: %w", err)
		}
		n++
	}
	return n, damaged
}

// Interface guard
var _ targets.Resealer = (*Store)(nil)

package redisstore

import (
	"context"
	"fmt"
	"slices"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// OfDevice implements targets.Store.
func (s *Store) OfDevice(ctx context.Context, namespace, deviceID, _ string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	key := s.deviceKey(namespace, deviceID)
	entries, err := s.shared.HGetAll(ctx, key).Result()
	if err != nil {
		return nil, fmt.Errorf("reading the list of a device's targets from redis: %w", err)
	}
	ids := make([]string, 0, len(entries))
	for entry, value := range entries {
		id, _, err := s.ring.Open([]byte(value), place(key, entry))
		if err != nil {
			return nil, fmt.Errorf("opening the list of a device's targets: %w", err)
		}
		ids = append(ids, string(id))
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// place is where an entry is sealed for.
func place(key, entry string) string { return key + "/" + entry }

func (s *Store) enlist(ctx context.Context, ref targets.Ref, deviceID, entry string) error {
	key := s.deviceKey(ref.Namespace, deviceID)
	value := s.ring.Seal([]byte(ref.ID), place(key, entry))
	if err := s.shared.HSet(ctx, key, entry, value).Err(); err != nil {
		return fmt.Errorf("adding to the list of a device's targets in redis: %w", err)
	}
	return nil
}

// delist does not matter much: an entry too many does no harm.
func (s *Store) delist(ctx context.Context, namespace, deviceID, entry string) {
	s.shared.HDel(ctx, s.deviceKey(namespace, deviceID), entry)
}

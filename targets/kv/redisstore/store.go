// Package redisstore keeps the values of package kv in Redis or Valkey, for
// several sidecars at once, and counts their limits there.
package redisstore

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// versionSize is the length of a version, in bytes.
const versionSize = 8

// frameSize is what stands before the data: the version, and as many bytes in
// which a former release kept something else. Short links have neither.
const frameSize = 2 * versionSize

func frame(data []byte) string {
	version := newVersion()
	return version + version + string(data)
}

// newVersion returns a text that is another each time.
func newVersion() string {
	version := make([]byte, versionSize)
	_, _ = rand.Read(version) // never fails
	return string(version)
}

// unframe returns what Redis has under a key. A value that is too short is
// damaged, and so is the data that is not in it.
func unframe(kind kv.Kind, value string) *kv.Value {
	switch {
	case kind == kv.Links:
		return &kv.Value{Data: []byte(value)}
	case len(value) < frameSize:
		return &kv.Value{Data: []byte{}, Version: value[:min(len(value), versionSize)]}
	}
	return &kv.Value{Data: []byte(value[frameSize:]), Version: value[:versionSize]}
}

// formerPrefix is that of lists that release 0.1.0 made.
const formerPrefix = "device:"

// prefixes are what the keys of a kind begin with, behind KeyPrefix.
var prefixes = map[kv.Kind]string{kv.Records: "target:", kv.Devices: "list:", kv.Links: "claim:", kv.Marker: "store:"}

func (s *Store) prefix(kind kv.Kind) string { return s.KeyPrefix + prefixes[kind] }

// Place implements kv.Backend. It is Redis's key.
func (s *Store) Place(key kv.Key) string { return s.prefix(key.Kind) + key.Name }

// Location implements kv.Backend.
func (s *Store) Location() string { return s.location }

// Get implements kv.Backend.
func (s *Store) Get(ctx context.Context, key kv.Key) (*kv.Value, error) {
	value, err := s.shared.Get(ctx, s.Place(key)).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading from redis: %w", err)
	}
	return unframe(key.Kind, value), nil
}

//go:embed swap.lua
var swapText string

var (
	swapScript  = redis.NewScript(swapText)
	clockScript = redis.NewScript(`return redis.call('TIME')`)
)

// Swap implements kv.Backend.
func (s *Store) Swap(ctx context.Context, key kv.Key, old *kv.Value, data []byte) (done bool, err error) {
	var version, value string
	if old != nil {
		version = old.Version
	}
	if data != nil {
		value = frame(data)
	}
	place := s.Place(key)
	if s.Replicas == 0 {
		return swap(ctx, s.shared, place, version, value)
	}
	node, err := s.master(ctx, place)
	if err != nil {
		return false, fmt.Errorf("writing to redis: %w", err)
	}
	conn := node.Conn() // Redis waits for what a connection has written
	defer conn.Close()
	if done, err = swap(ctx, conn, place, version, value); err != nil || !done {
		return false, err
	}
	n, err := conn.Wait(ctx, s.Replicas, time.Duration(s.ReplicasTimeout)).Result()
	switch {
	case err != nil:
		return true, fmt.Errorf("waiting for the replicas of redis: %w", err)
	case n < int64(s.Replicas):
		return true, fmt.Errorf("%d of %d replicas of redis have the write within %s", n, s.Replicas, time.Duration(s.ReplicasTimeout))
	}
	return true, nil
}

// master returns the client of the master that has a key.
func (s *Store) master(ctx context.Context, place string) (*redis.Client, error) {
	if cluster, ok := s.shared.UniversalClient.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, place)
	}
	return s.shared.UniversalClient.(*redis.Client), nil
}

func swap(ctx context.Context, node redis.Scripter, place, version, value string) (done bool, err error) {
	latest := ""
	if deadline, ok := ctx.Deadline(); ok { // by Redis's clock, rather too early than too late
		clock, err := clockScript.Run(ctx, node, []string{place}).Int64Slice()
		if err == nil && len(clock) != 2 {
			err = errors.New("the answer is not a time")
		}
		if err != nil {
			return false, fmt.Errorf("asking redis for its time: %w", err)
		}
		latest = fmt.Sprint(clock[0]*1_000_000 + clock[1] + time.Until(deadline).Microseconds())
	}
	switch n, err := swapScript.Run(ctx, node, []string{place}, version, value, latest).Int(); {
	case err != nil:
		return false, fmt.Errorf("writing to redis: %w", err)
	case n < 0:
		return false, fmt.Errorf("writing to redis: the write came too late: %w", context.DeadlineExceeded)
	default:
		return n == 1, nil
	}
}

// Delete implements kv.Backend.
func (s *Store) Delete(ctx context.Context, key kv.Key) (found bool, err error) {
	n, err := s.shared.Del(ctx, s.Place(key)).Result()
	if err != nil {
		return false, fmt.Errorf("deleting from redis: %w", err)
	}
	return n > 0, nil
}

// Put implements kv.Backend. Redis drops the link by itself, by its own clock.
func (s *Store) Put(ctx context.Context, key kv.Key, data []byte, expires time.Time) error {
	left := max(time.Until(expires), 0).Truncate(time.Millisecond) + time.Millisecond // never dropped early, never kept for good
	if err := s.shared.Set(ctx, s.Place(key), data, left).Err(); err != nil {
		return fmt.Errorf("writing a short link to redis: %w", err)
	}
	return nil
}

// Take implements kv.Backend.
func (s *Store) Take(ctx context.Context, key kv.Key) ([]byte, error) {
	cmd := once{redis.NewStringCmd(ctx, "getdel", s.Place(key))}
	err := s.shared.Process(ctx, cmd)
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("taking a short link from redis: %w", err)
	}
	return []byte(cmd.Val()), nil
}

// once is a command that the client does not repeat when its answer is lost:
// the second answer to GETDEL would be that there is nothing.
type once struct{ *redis.StringCmd }

// NoRetry implements redis.Cmder.
func (once) NoRetry() bool { return true }

// FormerDevice implements kv.Former. The former release kept a hash, with an
// entry for each target.
func (s *Store) FormerDevice(ctx context.Context, name string, open func(data []byte, place string) ([]byte, error)) (ids []string, err error) {
	key := s.KeyPrefix + formerPrefix + name
	entries, err := s.shared.HGetAll(ctx, key).Result()
	if err != nil {
		return nil, fmt.Errorf("reading the list of a device's targets from redis: %w", err)
	}
	for entry, value := range entries {
		id, err := open([]byte(value), key+"/"+entry)
		if err != nil {
			return nil, fmt.Errorf("opening the list of a device's targets: %w", err)
		}
		ids = append(ids, string(id))
	}
	return ids, nil
}

// DropFormer implements kv.Former.
func (s *Store) DropFormer(ctx context.Context) error {
	return s.scan(ctx, s.KeyPrefix+formerPrefix, func(keys []string) error {
		_, err := s.shared.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, key := range keys {
				p.Del(ctx, key)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("deleting from redis: %w", err)
		}
		return nil
	})
}

// Scan implements kv.Backend.
func (s *Store) Scan(ctx context.Context, kind kv.Kind, f func(name string, v *kv.Value) error) error {
	return s.scan(ctx, s.prefix(kind), func(keys []string) error {
		results, err := s.shared.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, key := range keys {
				p.Get(ctx, key)
			}
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("reading from redis: %w", err)
		}
		for i, key := range keys {
			value, err := results[i].(*redis.StringCmd).Result()
			switch {
			case errors.Is(err, redis.Nil): // gone meanwhile
				continue
			case err != nil:
				return fmt.Errorf("reading from redis: %w", err)
			}
			if err := f(strings.TrimPrefix(key, s.prefix(kind)), unframe(kind, value)); err != nil {
				return err
			}
		}
		return nil
	})
}

// scan calls f with the keys that begin with a prefix, on every master of a
// cluster, one after the other. The client bounds each of its commands.
func (s *Store) scan(ctx context.Context, prefix string, f func(keys []string) error) error {
	cluster, ok := s.shared.UniversalClient.(*redis.ClusterClient)
	if !ok {
		return scanNode(ctx, s.shared, prefix, f)
	}
	var mu sync.Mutex
	var failed error
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		if failed == nil {
			failed = scanNode(ctx, node, prefix, f)
		}
		return failed
	})
	if failed != nil {
		return failed
	}
	return err
}

func scanNode(ctx context.Context, node redis.Cmdable, prefix string, f func(keys []string) error) error {
	const batch = 500 // about so many keys are in memory at a time
	for cursor := uint64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		keys, next, err := node.Scan(ctx, cursor, prefix+"*", batch).Result()
		if err != nil {
			return fmt.Errorf("listing redis: %w", err)
		}
		if err := f(keys); err != nil || next == 0 {
			return err
		}
		cursor = next
	}
}

// Interface guards
var (
	_ kv.Guest  = (*Store)(nil)
	_ kv.Former = (*Store)(nil)
)

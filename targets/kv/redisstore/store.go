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

// formerPrefix is that of lists that a former release made.
const formerPrefix = "device:"

// prefix is what the keys of a kind begin with.
func (s *Store) prefix(kind kv.Kind) string {
	switch kind {
	case kv.Devices:
		return s.KeyPrefix + "list:"
	case kv.Links:
		return s.KeyPrefix + "claim:"
	case kv.Marker:
		return s.KeyPrefix + "store:"
	default:
		return s.KeyPrefix + "target:"
	}
}

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

var swapScript = redis.NewScript(swapText)

// Swap implements kv.Backend.
func (s *Store) Swap(ctx context.Context, key kv.Key, old *kv.Value, data []byte) (done bool, err error) {
	version, value := "", ""
	if old != nil {
		version = old.Version
	}
	if data != nil {
		value = frame(data)
	}
	place := s.Place(key)
	conn, err := s.connectionTo(ctx, place)
	if err != nil {
		return false, fmt.Errorf("writing to redis: %w", err)
	}
	node := redis.Scripter(s.shared)
	if conn != nil {
		defer conn.Close()
		node = conn
	}
	deadline, err := serverDeadline(ctx, node, place)
	if err != nil {
		return false, fmt.Errorf("asking redis for its time: %w", err)
	}
	n, err := swapScript.Run(ctx, node, []string{place}, version, value, deadline).Int()
	switch {
	case err != nil:
		return false, fmt.Errorf("writing to redis: %w", err)
	case n < 0:
		return false, fmt.Errorf("writing to redis: the write came too late: %w", context.DeadlineExceeded)
	case n == 0:
		return false, nil
	}
	if conn == nil {
		return true, nil
	}
	return true, s.await(ctx, conn)
}

// connectionTo returns one connection to the master that has a key, nil if no
// replicas are waited for: Redis waits for what that connection has written.
func (s *Store) connectionTo(ctx context.Context, place string) (*redis.Conn, error) {
	if s.Replicas == 0 {
		return nil, nil
	}
	switch c := s.shared.UniversalClient.(type) {
	case *redis.Client:
		return c.Conn(), nil
	case *redis.ClusterClient:
		master, err := c.MasterForKey(ctx, place)
		if err != nil {
			return nil, err
		}
		return master.Conn(), nil
	default:
		return nil, fmt.Errorf("the client %T has no connections of its own", c)
	}
}

// await waits until enough replicas have what a connection has written.
func (s *Store) await(ctx context.Context, conn *redis.Conn) error {
	n, err := conn.Wait(ctx, s.Replicas, time.Duration(s.ReplicasTimeout)).Result()
	if err != nil {
		return fmt.Errorf("waiting for the replicas of redis: %w", err)
	}
	if n < int64(s.Replicas) {
		return fmt.Errorf("%d of %d replicas of redis have the write within %s", n, s.Replicas, time.Duration(s.ReplicasTimeout))
	}
	return nil
}

var clockScript = redis.NewScript(`return redis.call('TIME')`)

// serverDeadline returns the context's deadline in microseconds by the clock of
// the Redis that has a key, rather too early than too late; "" if there is none.
func serverDeadline(ctx context.Context, node redis.Scripter, place string) (string, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return "", nil
	}
	clock, err := clockScript.Run(ctx, node, []string{place}).Int64Slice()
	if err != nil {
		return "", err
	}
	if len(clock) != 2 {
		return "", errors.New("the answer is not a time")
	}
	return fmt.Sprint(clock[0]*1_000_000 + clock[1] + time.Until(deadline).Microseconds()), nil
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
		ctx, cancel := s.bound(ctx)
		defer cancel()
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

// batch is about how many keys are in memory at a time.
const batch = 500

// Scan implements kv.Backend.
func (s *Store) Scan(ctx context.Context, kind kv.Kind, f func(name string, v *kv.Value) error) error {
	return s.scan(ctx, s.prefix(kind), func(keys []string) error {
		values, err := s.readAll(ctx, keys)
		if err != nil {
			return err
		}
		for i, key := range keys {
			if values[i] == nil { // gone meanwhile
				continue
			}
			if err := f(strings.TrimPrefix(key, s.prefix(kind)), unframe(kind, *values[i])); err != nil {
				return err
			}
		}
		return nil
	})
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

// scan calls f with the keys that begin with a prefix, never concurrently, on
// every master of a cluster at once.
func (s *Store) scan(ctx context.Context, prefix string, f func(keys []string) error) error {
	cluster, ok := s.shared.UniversalClient.(*redis.ClusterClient)
	if !ok {
		return s.scanNode(ctx, s.shared, prefix, f)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var failed error
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
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

func (s *Store) scanNode(ctx context.Context, node redis.Cmdable, prefix string, f func(keys []string) error) error {
	for cursor := uint64(0); ; {
		keys, next, err := s.scanOnce(ctx, node, cursor, prefix)
		if err != nil {
			return err
		}
		if err := f(keys); err != nil || next == 0 {
			return err
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

// bound ends one step of a longer work, or of counting, in time.
func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(s.Timeout))
}

// Interface guards
var (
	_ kv.Guest  = (*Store)(nil)
	_ kv.Former = (*Store)(nil)
)

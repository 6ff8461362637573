package redisstore

import (
	"errors"
	"regexp"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func TestStoreKeepsTheContract(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.Backend { return open(t, config(common(t))).redis }, func(t *testing.T) kvtest.Outage {
		server := start(t)
		s := open(t, config(server))
		return kvtest.Outage{
			Backend: s.redis,
			Down: func() {
				mustTake(t, s, -1, limit)
				server.Kill() // as abruptly as can be
			},
			Up: func() {
				server.Start(t)
				eventually(t, "the end of loading", func() bool {
					_, err := s.Load(t.Context(), ref)
					return errors.Is(err, targets.ErrNotFound)
				})
				mustTake(t, s, 0, limit) // the counter is still there
			},
			Because: regexp.MustCompile(`connection refused|EOF|reset by peer|broken pipe`), // of a new connection, or of one that was there
		}
	})
}

func TestForeignValueIsUnavailable(t *testing.T) {
	s := open(t, config(common(t)))
	ref := targets.Ref{ID: "one"}
	key := s.redis.Place(recordKey(ref))
	for name, write := range map[string]error{
		"empty":      s.shared.Set(t.Context(), key, "", 0).Err(),
		"too short":  s.shared.Set(t.Context(), key, "0123456789abcde", 0).Err(),
		"list":       errors.Join(s.shared.Del(t.Context(), key).Err(), s.shared.RPush(t.Context(), key, "x").Err()),
		"sorted set": errors.Join(s.shared.Del(t.Context(), key).Err(), s.shared.ZAdd(t.Context(), key, redis.Z{Member: "x"}).Err()),
	} {
		if write != nil {
			t.Fatal(write)
		}
		if _, err := s.Load(t.Context(), ref); err == nil || errors.Is(err, targets.ErrNotFound) {
			t.Errorf("%s: Load returned %v", name, err)
		}
		if err := s.Update(t.Context(), ref, kvtest.To(kvtest.Target(ref))); err == nil {
			t.Errorf("%s: overwritten", name)
		}
	}
}

func TestListsOfAFormerRelease(t *testing.T) {
	for name, ring := range map[string]*kv.Ring{"plain": nil, "sealed": kvtest.Ring(t, 1)} {
		t.Run(name, func(t *testing.T) {
			s := open(t, config(common(t)))
			list := s.redis.KeyPrefix + formerPrefix + targets.Ref{Namespace: "bank", ID: "device-1"}.Hash()
			put := func(text string) {
				if err := s.shared.HSet(t.Context(), list, "entry---", text).Err(); err != nil {
					t.Fatal(err)
				}
			}
			former := kvtest.FormerList{
				Put:  func() { put(string(ring.Seal([]byte("old"), list+"/entry---"))) },
				Left: func() bool { return s.shared.Exists(t.Context(), list).Val() != 0 },
			}
			if ring != nil {
				former.Bad = func() { put("not sealed") }
			}
			kvtest.Former(t, s.redis, ring, former)
		})
	}
}

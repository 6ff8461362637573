package redisstore

import (
	"errors"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func TestStoreKeepsTheContract(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.Backend { return open(t, config(common(t))).redis })
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

// Lists of the release before this one, which did not tell users apart, are
// read, and replaced when the store is resealed.
func TestListsOfAFormerRelease(t *testing.T) {
	for _, keys := range [][]byte{nil, {1}} {
		s := sealed(t, config(common(t)), keys...)
		r, ref := ring(t, keys...), targets.Ref{Namespace: "bank", ID: "old"}
		list := s.redis.KeyPrefix + "device:" + targets.Ref{Namespace: "bank", ID: "device-1"}.Hash()
		record, err := targets.Encode(kvtest.Target(ref), ref)
		if err != nil {
			t.Fatal(err)
		}
		key := s.redis.Place(recordKey(ref))
		err = errors.Join(
			s.shared.HSet(t.Context(), list, "entry---", r.Seal([]byte("old"), list+"/entry---")).Err(),
			s.shared.Set(t.Context(), key, "version-entry---"+string(r.Seal(record, key)), 0).Err(),
		)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, s, []targets.Ref{{Namespace: "bank", ID: "new"}})
		check := func() {
			t.Helper()
			ids, err := s.OfDevice(t.Context(), "bank", "device-1", "jeff")
			if err != nil || !slices.Equal(ids, []string{"new", "old"}) {
				t.Errorf("the device has %q, error %v", ids, err)
			}
		}
		check()
		if _, err := s.Reseal(t.Context(), func(e *targets.RecordError) error { return e }); err != nil {
			t.Fatal(err)
		}
		check()
		if n, err := s.shared.Exists(t.Context(), list).Result(); n != 0 || err != nil {
			t.Errorf("the list is still there, error %v", err)
		}
		if keys != nil {
			if err := s.shared.HSet(t.Context(), list, "entry---", "not sealed").Err(); err != nil {
				t.Fatal(err)
			}
			if ids, err := s.OfDevice(t.Context(), "bank", "device-1", "jeff"); err == nil {
				t.Errorf("a list that was changed: the device has %q", ids)
			}
		}
	}
}

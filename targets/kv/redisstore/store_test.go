package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func TestStoreKeepsTheContract(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.Backend { return open(t, config(common)).redis })
}

func TestForeignValueIsUnavailable(t *testing.T) {
	s := open(t, config(common))
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
		if err := s.Update(t.Context(), ref, to(kvtest.Target(ref))); err == nil {
			t.Errorf("%s: overwritten", name)
		}
	}
}

// Two sidecars change one record, while a third seals it anew.
func TestSidecarsLoseNoUpdate(t *testing.T) {
	c := config(common)
	resealer := sealed(t, c, 2, 1)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := resealer.Reseal(t.Context(), func(e *targets.RecordError) error { return e }); err != nil {
				t.Error(err)
			}
		}
	})
	testConcurrency(t, []*sidecar{sealed(t, c, 1, 2), sealed(t, c, 1, 2)})
	close(done)
	wg.Wait()
}

func testConcurrency(t *testing.T, sidecars []*sidecar) {
	t.Helper()
	counter := targets.Ref{ID: "counter"}
	record := kvtest.Target(counter)
	record.Modified = 0
	if err := sidecars[0].Update(t.Context(), counter, to(record)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			if err := sidecars[i%len(sidecars)].Update(t.Context(), counter, increment); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, err := sidecars[0].Load(t.Context(), counter); err != nil || got.Modified != 64 {
		t.Errorf("after 64 increments there is %+v, error %v", got, err)
	}
}

// Whatever sidecars do to few targets at once, each device lists all that it
// has.
func TestDevicesAreCompleteWhateverHappensAtOnce(t *testing.T) {
	c := config(common)
	sidecars := []*sidecar{open(t, c), open(t, c), open(t, c)}
	refs := []targets.Ref{{ID: "one"}, {ID: "two"}}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			for range 40 {
				ref := refs[rand.N(len(refs))]
				next := kvtest.Target(ref)
				if next.DeviceID = fmt.Sprint("device-", rand.N(4)); next.DeviceID == "device-3" {
					next = nil
				}
				if err := sidecars[i%3].Update(t.Context(), ref, to(next)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	want := make(map[string][]string)
	for _, ref := range refs {
		if record, err := sidecars[0].Load(t.Context(), ref); err == nil {
			want[record.DeviceID] = append(want[record.DeviceID], ref.ID)
		}
	}
	for i := range 3 {
		device := fmt.Sprint("device-", i)
		ids, err := sidecars[0].OfDevice(t.Context(), "", device, "jeff")
		if err != nil || slices.ContainsFunc(want[device], func(id string) bool { return !slices.Contains(ids, id) }) {
			t.Errorf("%s lists %q, has %q; error %v", device, ids, want[device], err)
		}
	}
}

// between runs something once, before a script.
type between struct {
	redis.Hook
	skip int // so many scripts come before
	run  func()
}

func (b *between) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *between) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (b *between) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" {
			if run := b.run; b.skip == 0 && run != nil {
				b.run = nil
				run()
			}
			b.skip--
		}
		return next(ctx, cmd)
	}
}

// One sidecar deletes a target, or moves it to another device; before
// it has cleared up, another one creates it anew. The device still lists it.
func TestClearingUpTakesNothingOfOthers(t *testing.T) {
	one := targets.Ref{ID: "one"}
	elsewhere := kvtest.Target(one)
	elsewhere.DeviceID = "device-2"
	for at := range 6 {
		for name, change := range map[string]*targets.Target{"delete": nil, "move": elsewhere} {
			c := config(common)
			first, second := open(t, c), open(t, c)
			fill(t, second, []targets.Ref{one})
			first.AddHook(&between{skip: at, run: func() {
				for _, next := range []*targets.Target{nil, kvtest.Target(one)} {
					if err := second.Update(t.Context(), one, to(next)); err != nil {
						t.Error(err)
					}
				}
			}})
			if err := first.Update(t.Context(), one, to(change)); err != nil {
				t.Fatal(err)
			}
			for i := range 2 {
				device := fmt.Sprint("device-", i+1)
				var want []string
				if record, err := second.Load(t.Context(), one); err == nil && record.DeviceID == device {
					want = []string{"one"}
				}
				ids, err := second.OfDevice(t.Context(), "", device, "jeff")
				if err != nil || len(want) > 0 && !slices.Equal(ids, want) {
					t.Errorf("%s, interrupted before script %d: %s lists %q, has %q; error %v", name, at, device, ids, want, err)
				}
			}
		}
	}
}

// crash fails every command from the n-th on, as if the sidecar had died; the
// n-th may have happened.
type crash struct {
	redis.Hook
	commands, at int
	happens      bool
}

var errCrashed = errors.New("crashed")

func (c *crash) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *crash) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c *crash) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.commands++
		if c.commands < c.at {
			return next(ctx, cmd)
		}
		if c.commands == c.at && c.happens {
			_ = next(ctx, cmd)
		}
		cmd.SetErr(errCrashed)
		return errCrashed
	}
}

func TestCrashLeavesDevicesComplete(t *testing.T) {
	refs := []targets.Ref{{ID: "one"}, {ID: "two"}}
	steps := []struct {
		ref    targets.Ref
		change targets.Edit
	}{
		{refs[0], to(kvtest.Target(refs[0]))},
		{refs[1], to(kvtest.Target(refs[1]))},
		{refs[0], func(current *targets.Target) (*targets.Target, error) {
			current.DeviceID = "device-2"
			return current, nil
		}},
		{refs[1], to(nil)},
		{refs[0], to(nil)},
	}
	for _, happens := range []bool{false, true} {
		crashed := true
		for at := 1; crashed; at++ {
			c := config(common)
			s, after := open(t, c), open(t, c)
			hook := &crash{at: at, happens: happens}
			s.AddHook(hook)
			for _, step := range steps {
				if err := s.Update(t.Context(), step.ref, step.change); err != nil {
					break
				}
			}
			crashed = hook.commands >= at
			for _, ref := range refs {
				record, err := after.Load(t.Context(), ref)
				if errors.Is(err, targets.ErrNotFound) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				ids, err := after.OfDevice(t.Context(), "", record.DeviceID, "jeff")
				if err != nil || !slices.Contains(ids, ref.ID) {
					t.Errorf("crash at command %d: device %q lists %q without %q, error %v", at, record.DeviceID, ids, ref.ID, err)
				}
			}
		}
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	s := open(t, config(common))
	ref := targets.Ref{ID: "one"}
	for range 3 {
		if err := s.Update(t.Context(), ref, to(kvtest.Target(ref))); err != nil {
			t.Fatal(err)
		}
		if err := s.Update(t.Context(), ref, to(nil)); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := s.shared.Keys(t.Context(), s.redis.KeyPrefix+"[^s]*").Result()
	if err != nil || len(keys) > 0 {
		t.Errorf("left over: %q, error %v", keys, err)
	}
}

// Lists of the release before this one, which did not tell users apart, are
// read, and replaced when the store is resealed.
func TestListsOfAFormerRelease(t *testing.T) {
	for _, keys := range [][]byte{nil, {1}} {
		s := sealed(t, config(common), keys...)
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

package redisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/storetest"
)

func TestStoreKeepsTheContract(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) targets.Store { return open(t, config(common)) })
	})
	t.Run("sealed", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) targets.Store { return sealed(t, config(common), 1) })
	})
}

func TestUnreadableRecordIsUnavailable(t *testing.T) {
	for _, s := range []*Store{open(t, config(common)), sealed(t, config(common), 1)} {
		storetest.RunUnreadable(t, s, func(ref targets.Ref, data []byte) {
			writeRaw(t, s, ref, s.ring.Seal(data, s.targetKey(ref.Hash())))
		})
	}
}

func TestTwoReleases(t *testing.T) {
	for _, s := range []*Store{open(t, config(common)), sealed(t, config(common), 1)} {
		storetest.RunVersions(t, s, func(ref targets.Ref) []byte {
			record, _, err := s.ring.Open(readRaw(t, s, ref), s.targetKey(ref.Hash()))
			if err != nil {
				t.Fatal(err)
			}
			return record
		}, func(ref targets.Ref, data []byte) {
			writeRaw(t, s, ref, s.ring.Seal(data, s.targetKey(ref.Hash())))
		})
	}
}

func TestForeignValueIsUnavailable(t *testing.T) {
	s := open(t, config(common))
	ref := targets.Ref{ID: "one"}
	key := s.targetKey(ref.Hash())
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
		if err := s.Update(t.Context(), ref, to(storetest.Target(ref))); err == nil {
			t.Errorf("%s: overwritten", name)
		}
	}
}

func TestLister(t *testing.T) {
	for _, s := range []*Store{open(t, config(common)), sealed(t, config(common), 1)} {
		storetest.RunLister(t, s, func(ref targets.Ref, data []byte) {
			writeRaw(t, s, ref, s.ring.Seal(data, s.targetKey(ref.Hash())))
		})
	}
}

func TestSealedRecordCannotBeChanged(t *testing.T) {
	s := sealed(t, config(common), 1)
	storetest.RunSealed(t, s, func(ref targets.Ref) []byte {
		return readRaw(t, s, ref)
	}, func(ref targets.Ref, data []byte) {
		writeRaw(t, s, ref, data)
	})
}

func TestSealedDeviceCannotBeChanged(t *testing.T) {
	s := sealed(t, config(common), 1)
	ref := targets.Ref{ID: "target-one"}
	if err := s.Update(t.Context(), ref, to(storetest.Target(ref))); err != nil {
		t.Fatal(err)
	}
	key := s.deviceKey("", "device-1")
	entries, err := s.shared.HGetAll(t.Context(), key).Result()
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d entries, error %v", len(entries), err)
	}
	for entry, value := range entries {
		if strings.Contains(value, "one") {
			t.Error("the entry is readable")
		}
		for name, bad := range map[string]string{
			"not sealed":    "target-two",
			"changed":       value[:len(value)-1] + string(value[len(value)-1]^1),
			"another entry": string(s.ring.Seal([]byte("target-two"), place(key, newToken()))),
			"a record":      string(readRaw(t, s, ref)),
		} {
			if err := s.shared.HSet(t.Context(), key, entry, bad).Err(); err != nil {
				t.Fatal(err)
			}
			if ids, err := s.OfDevice(t.Context(), "", "device-1", "jeff"); err == nil {
				t.Errorf("%s: the device has %q", name, ids)
			}
		}
	}
}

func TestReseal(t *testing.T) {
	c := config(common)
	old := sealed(t, c, 1)
	refs := []targets.Ref{{ID: "one"}, {ID: "two"}, {Namespace: "bank", ID: "three"}}
	for _, ref := range refs {
		if err := old.Update(t.Context(), ref, to(storetest.Target(ref))); err != nil {
			t.Fatal(err)
		}
	}
	damaged := targets.Ref{ID: "damaged"}
	writeRaw(t, old, damaged, []byte("junk"))
	both := sealed(t, c, 2, 1)
	for round, want := range []int{6, 0} { // targets, and entries of their devices
		var reported []string
		n, err := both.Reseal(t.Context(), func(e *targets.RecordError) error {
			reported = append(reported, e.Hash)
			return nil
		})
		if n != want || err != nil || !slices.Equal(reported, []string{damaged.Hash()}) {
			t.Errorf("round %d: %d were resealed, want %d; reported %q, error %v", round, n, want, reported, err)
		}
	}
	fresh := sealed(t, c, 2)
	for _, ref := range refs {
		if _, err := fresh.Load(t.Context(), ref); err != nil {
			t.Errorf("with the new key alone: %v", err)
		}
		if _, err := old.Load(t.Context(), ref); err == nil || errors.Is(err, targets.ErrNotFound) {
			t.Errorf("with the old key alone: %v", err)
		}
	}
	if ids, err := fresh.OfDevice(t.Context(), "", "device-1", "jeff"); err != nil || !slices.Equal(ids, []string{"one", "two"}) {
		t.Errorf("the device has %q, error %v", ids, err)
	}
	if err := fresh.Update(t.Context(), refs[0], to(nil)); err != nil {
		t.Fatal(err)
	}
	if ids, err := fresh.OfDevice(t.Context(), "", "device-1", "jeff"); err != nil || !slices.Equal(ids, []string{"two"}) {
		t.Errorf("afterwards the device has %q, error %v", ids, err)
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
	testConcurrency(t, []*Store{sealed(t, c, 1, 2), sealed(t, c, 1, 2)})
	close(done)
	wg.Wait()
}

func testConcurrency(t *testing.T, sidecars []*Store) {
	t.Helper()
	counter := targets.Ref{ID: "counter"}
	record := storetest.Target(counter)
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
// has, and in the end nothing else.
func TestDevicesAreCompleteWhateverHappensAtOnce(t *testing.T) {
	c := config(common)
	sidecars := []*Store{open(t, c), open(t, c), open(t, c)}
	refs := []targets.Ref{{ID: "one"}, {ID: "two"}}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			for range 40 {
				ref := refs[rand.N(len(refs))]
				next := storetest.Target(ref)
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
		if err != nil || !slices.Equal(ids, want[device]) {
			t.Errorf("%s lists %q, has %q; error %v", device, ids, want[device], err)
		}
	}
}

// between runs something once, before the first command of a name.
type between struct {
	redis.Hook
	command string
	run     func()
}

func (b *between) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *between) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (b *between) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if run := b.run; cmd.Name() == b.command && run != nil {
			b.run = nil
			run()
		}
		return next(ctx, cmd)
	}
}

// One sidecar deletes a target, or moves it to another device; before
// it has cleared up, another one creates it anew. The device still lists it.
func TestClearingUpTakesNothingOfOthers(t *testing.T) {
	one := targets.Ref{ID: "one"}
	elsewhere := storetest.Target(one)
	elsewhere.DeviceID = "device-2"
	for _, command := range []string{"hdel", "evalsha", "hset"} {
		for name, change := range map[string]*targets.Target{"delete": nil, "move": elsewhere} {
			c := config(common)
			first, second := open(t, c), open(t, c)
			fill(t, second, []targets.Ref{one})
			first.shared.AddHook(&between{command: command, run: func() {
				for _, next := range []*targets.Target{nil, storetest.Target(one)} {
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
				if err != nil || !slices.Equal(ids, want) {
					t.Errorf("%s, interrupted before %s: %s lists %q, has %q; error %v", name, command, device, ids, want, err)
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
		{refs[0], to(storetest.Target(refs[0]))},
		{refs[1], to(storetest.Target(refs[1]))},
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
			s.shared.AddHook(hook)
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

func TestEqualRecordIsNotWritten(t *testing.T) {
	s := sealed(t, config(common), 1)
	ref := targets.Ref{ID: "one"}
	if err := s.Update(t.Context(), ref, to(storetest.Target(ref))); err != nil {
		t.Fatal(err)
	}
	before := readRaw(t, s, ref)
	if err := s.Update(t.Context(), ref, to(storetest.Target(ref))); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, readRaw(t, s, ref)) {
		t.Error("the record was sealed again")
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	s := open(t, config(common))
	ref := targets.Ref{ID: "one"}
	for range 3 {
		if err := s.Update(t.Context(), ref, to(storetest.Target(ref))); err != nil {
			t.Fatal(err)
		}
		if err := s.Update(t.Context(), ref, to(nil)); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := s.shared.Keys(t.Context(), s.KeyPrefix+"*").Result()
	if err != nil || len(keys) > 0 {
		t.Errorf("left over: %q, error %v", keys, err)
	}
}

package kvtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// elsewhere is a backend as another process has it: the locks of this process
// do not hold there.
type elsewhere struct {
	kv.Backend
	process int
}

func (e elsewhere) Location() string { return fmt.Sprint(e.process, " ", e.Backend.Location()) }

func (s *store) inProcess(i int) *store { return newStore(s.t, elsewhere{s.backend, i}, s.ring) }

// processes has several of them change one record at once, while a further one
// seals all records with another key.
func processes(t *testing.T, s *store) {
	const n, writers, each = 3, 24, 4
	ref := targets.Ref{ID: "counter"}
	record := Target(ref)
	record.Modified = 0
	put(t, s, ref, record)
	var wg, resealing sync.WaitGroup
	ctx, done := context.WithCancel(t.Context())
	if s.ring != nil {
		resealing.Go(func() {
			resealer := newStore(t, elsewhere{s.backend, n}, Ring(t, 2, 1))
			for ctx.Err() == nil {
				if _, err := resealer.Reseal(context.WithoutCancel(ctx), func(e *targets.RecordError) error { return e }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range writers {
		wg.Go(func() {
			other := s.inProcess(i % n)
			for range each {
				change(t, other, ref, func(current *targets.Target) { current.Modified++ })
				load(t, other, ref)
			}
		})
	}
	wg.Wait()
	done()
	resealing.Wait()
	if got := load(t, s, ref); got.Modified != writers*each {
		t.Errorf("%d of %d increments are left", got.Modified, writers*each)
	}
}

// movingBetweenDevices has several processes move, delete and create one target
// at once. Whenever they are done, its device lists it.
func movingBetweenDevices(t *testing.T, s *store) {
	ref := targets.Ref{ID: "moving"}
	for round := range 20 {
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				next := Target(ref)
				next.DeviceID, next.Modified = fmt.Sprint("device-", (round+i)%3), int64(100*round+i)
				if (round+i)%5 == 0 {
					next = nil
				}
				put(t, s.inProcess(i), ref, next)
			})
		}
		wg.Wait()
		mustBeListed(t, s, ref, fmt.Sprint("round ", round))
	}
}

// mustBeListed checks that the device of a target lists it, if there is one.
func mustBeListed(t *testing.T, s *store, ref targets.Ref, when string) {
	t.Helper()
	record, err := s.Load(t.Context(), ref)
	if errors.Is(err, targets.ErrNotFound) {
		return
	}
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	ids, err := s.OfDevice(t.Context(), "", record.DeviceID, "jeff")
	if err != nil || !slices.Contains(ids, ref.ID) {
		t.Errorf("%s: %s lists %q without %q, error %v", when, record.DeviceID, ids, ref.ID, err)
	}
}

// hooked is a backend with something around each Get and Swap, which it calls
// with do, or does not. Its error is that of the operation.
type hooked struct {
	kv.Backend
	hook func(swap bool, do func()) error
}

// Get implements kv.Backend.
func (h *hooked) Get(ctx context.Context, key kv.Key) (v *kv.Value, err error) {
	if e := h.hook(false, func() { v, err = h.Backend.Get(ctx, key) }); e != nil {
		return nil, e
	}
	return v, err
}

// Swap implements kv.Backend.
func (h *hooked) Swap(ctx context.Context, key kv.Key, old *kv.Value, data []byte) (done bool, err error) {
	if e := h.hook(true, func() { done, err = h.Backend.Swap(ctx, key, old, data) }); e != nil {
		return false, e
	}
	return done, err
}

// crashes ends a process at each of its operations, before or after it has
// happened. Each record is the old or the new one, and its device lists it.
func crashes(t *testing.T, open func(t *testing.T) *store) {
	one, two := targets.Ref{ID: "one"}, targets.Ref{ID: "two"}
	elsewhere := Target(one)
	elsewhere.DeviceID = "device-2"
	crashed := errors.New("crashed")
	for _, happens := range []bool{false, true} {
		for at, n := 1, 1; at <= n; at++ {
			s := open(t)
			n = 0
			dying := newStore(t, &hooked{s.backend, func(_ bool, do func()) error {
				n++
				if n < at || n == at && happens {
					do()
				}
				if n < at {
					return nil
				}
				return crashed
			}}, s.ring)
			for _, step := range []struct {
				ref  targets.Ref
				next *targets.Target
			}{{one, Target(one)}, {two, Target(two)}, {one, elsewhere}, {two, nil}, {one, nil}} {
				if dying.Update(t.Context(), step.ref, func(*targets.Target) (*targets.Target, error) { return step.next, nil }) != nil {
					break
				}
			}
			for _, ref := range []targets.Ref{one, two} {
				mustBeListed(t, s, ref, fmt.Sprintf("crash at operation %d, happens %t", at, happens))
			}
		}
	}
}

// clearing has a process delete or move a target. Before one of its writes
// another process deletes the target and creates it anew. Its device still
// lists it in the end.
func clearing(t *testing.T, open func(t *testing.T) *store) {
	one := targets.Ref{ID: "one"}
	elsewhere := Target(one)
	elsewhere.DeviceID = "device-2"
	for at := range 4 {
		for name, next := range map[string]*targets.Target{"deleted": nil, "moved": elsewhere} {
			s := open(t)
			put(t, s, one, Target(one))
			writes := 0
			first := newStore(t, &hooked{s.backend, func(swap bool, do func()) error {
				if swap && writes == at {
					put(t, s.inProcess(1), one, nil)
					put(t, s.inProcess(1), one, Target(one))
				}
				if swap {
					writes++
				}
				do()
				return nil
			}}, s.ring)
			put(t, first, one, next)
			mustBeListed(t, s, one, fmt.Sprintf("%s, interrupted before write %d", name, at))
		}
	}
}

package kvtest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func TestBackendKeepsTheContract(t *testing.T) {
	kvtest.Run(t, func(*testing.T) kv.Backend { return new(kvtest.Backend) })
}

func TestMemoryFails(t *testing.T) {
	ref := targets.Ref{ID: "one"}
	broken := errors.New("broken")
	for _, op := range []kvtest.Op{kvtest.Load, kvtest.Update, kvtest.Write, kvtest.Written, kvtest.OfDevice} {
		m := new(kvtest.Memory)
		m.SetFault(func(_ context.Context, at kvtest.Op) error {
			if at == op {
				return broken
			}
			return nil
		})
		updateErr := m.Update(t.Context(), ref, func(*targets.Target) (*targets.Target, error) {
			return kvtest.Target(ref), nil
		})
		_, loadErr := m.Load(t.Context(), ref)
		_, deviceErr := m.OfDevice(t.Context(), "", "device-1", "jeff")
		if got, want := errors.Is(updateErr, broken), op == kvtest.Update || op == kvtest.Write || op == kvtest.Written; got != want {
			t.Errorf("fault at %s: Update returned %v", op, updateErr)
		}
		if got, want := errors.Is(loadErr, broken), op == kvtest.Load; got != want {
			t.Errorf("fault at %s: Load returned %v", op, loadErr)
		}
		if got, want := errors.Is(deviceErr, broken), op == kvtest.OfDevice; got != want {
			t.Errorf("fault at %s: OfDevice returned %v", op, deviceErr)
		}
		m.SetFault(nil)
		_, err := m.Load(t.Context(), ref)
		lost := op == kvtest.Update || op == kvtest.Write
		if errors.Is(err, targets.ErrNotFound) != lost {
			t.Errorf("fault at %s: afterwards Load returned %v", op, err)
		}
	}
}

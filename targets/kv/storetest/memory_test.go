package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/storetest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) targets.Store { return new(storetest.Memory) })
	m := new(storetest.Memory)
	storetest.RunUnreadable(t, m, m.Put)
	m = new(storetest.Memory)
	storetest.RunLister(t, m, m.Put)
	m = new(storetest.Memory)
	storetest.RunVersions(t, m, func(targets.Ref) []byte { return bytes.TrimSpace(m.Dump()) }, m.Put)
}

func TestMemoryFails(t *testing.T) {
	ref := targets.Ref{ID: "one"}
	broken := errors.New("broken")
	for _, op := range []storetest.Op{storetest.Load, storetest.Update, storetest.Write, storetest.Written, storetest.OfDevice} {
		m := new(storetest.Memory)
		m.SetFault(func(_ context.Context, at storetest.Op) error {
			if at == op {
				return broken
			}
			return nil
		})
		updateErr := m.Update(t.Context(), ref, func(*targets.Target) (*targets.Target, error) {
			return storetest.Target(ref), nil
		})
		_, loadErr := m.Load(t.Context(), ref)
		_, deviceErr := m.OfDevice(t.Context(), "", "device-1", "jeff")
		if got, want := errors.Is(updateErr, broken), op == storetest.Update || op == storetest.Write || op == storetest.Written; got != want {
			t.Errorf("fault at %s: Update returned %v", op, updateErr)
		}
		if got, want := errors.Is(loadErr, broken), op == storetest.Load; got != want {
			t.Errorf("fault at %s: Load returned %v", op, loadErr)
		}
		if got, want := errors.Is(deviceErr, broken), op == storetest.OfDevice; got != want {
			t.Errorf("fault at %s: OfDevice returned %v", op, deviceErr)
		}
		m.SetFault(nil)
		_, err := m.Load(t.Context(), ref)
		lost := op == storetest.Update || op == storetest.Write
		if errors.Is(err, targets.ErrNotFound) != lost {
			t.Errorf("fault at %s: afterwards Load returned %v", op, err)
		}
	}
}

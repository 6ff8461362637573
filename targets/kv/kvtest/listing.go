package kvtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// listing tests what goes through all records, and removes some without reading
// them.
func listing(t *testing.T, s *store) {
	t.Run("empty", func(t *testing.T) { mustList(t, s, nil, nil) })

	all := make(map[targets.Ref]bool)
	for i := range 60 {
		ref := targets.Ref{Namespace: []string{"", "bank", "../x"}[i%3], ID: fmt.Sprint("*/", i)}
		put(t, s, ref, Target(ref))
		all[ref] = true
	}
	t.Run("all namespaces", func(t *testing.T) { mustList(t, s, all, nil) })

	damaged, moved := targets.Ref{ID: "damaged"}, targets.Ref{ID: "moved"}
	other, err := targets.Encode(Target(targets.Ref{ID: "x"}), targets.Ref{ID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	s.write(damaged, []byte(`{"schema":1`))
	s.write(moved, other)
	t.Run("damaged records", func(t *testing.T) { mustList(t, s, all, []targets.Ref{damaged, moved}) })
	t.Run("error ends it", func(t *testing.T) { errorEndsListing(t, s) })
	t.Run("cancelled context", func(t *testing.T) { cancelledListing(t, s) })
	t.Run("remove", func(t *testing.T) {
		good := targets.Ref{ID: "good"}
		put(t, s, good, Target(good))
		for _, ref := range []targets.Ref{damaged, moved, good, {ID: "nobody"}} {
			if found, err := s.Remove(t.Context(), ref.Hash()); err != nil || found != (ref.ID != "nobody") {
				t.Errorf("removing %q: found %t, error %v", ref.ID, found, err)
			}
			mustNotExist(t, s, ref)
		}
		mustList(t, s, all, nil)
	})
}

// mustList lists the store and compares. Targets may come twice.
func mustList(t *testing.T, s *store, want map[targets.Ref]bool, damaged []targets.Ref) {
	t.Helper()
	got, broken := make(map[targets.Ref]bool), make(map[string]bool)
	err := s.Each(t.Context(), func(record *targets.Target, err error) error {
		if record == nil {
			e, ok := errors.AsType[*targets.RecordError](err)
			if !ok {
				t.Fatalf("no target, and error %v, want a RecordError", err)
			}
			broken[e.Hash] = true
			return nil
		}
		got[record.Ref()] = true
		if err != nil {
			t.Errorf("a target came with error %v", err)
		}
		return nil
	})
	if err != nil || len(got) != len(want) || !maps.Equal(got, want) && len(want) > 0 {
		t.Errorf("listed %d targets, want %d; error %v", len(got), len(want), err)
	}
	for _, ref := range damaged {
		if !broken[ref.Hash()] {
			t.Errorf("the damaged record of %q was not reported", ref.ID)
		}
	}
	if len(broken) != len(damaged) {
		t.Errorf("%d damaged records were reported, want %d: %q", len(broken), len(damaged), slices.Collect(maps.Keys(broken)))
	}
}

func errorEndsListing(t *testing.T, s *store) {
	enough, calls := errors.New("enough"), 0
	err := s.Each(t.Context(), func(*targets.Target, error) error {
		if calls++; calls == 3 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || calls != 3 {
		t.Errorf("after %d calls the listing ended with %v", calls, err)
	}
}

func cancelledListing(t *testing.T, s *store) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err := s.Each(ctx, func(*targets.Target, error) error {
		calls++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || calls == 62 {
		t.Errorf("after %d calls the listing ended with %v, want context.Canceled", calls, err)
	}
}

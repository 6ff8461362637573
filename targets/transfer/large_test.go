package transfer_test

import (
	"context"
	"io"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/transfer"
)

// endless is a store that takes everything and keeps nothing, so that memory
// is the import's own.
type endless struct {
	targets.Store
	stored atomic.Int64
}

func (s *endless) Update(_ context.Context, _ targets.Ref, change targets.Edit) error {
	next, err := change(nil)
	if next != nil {
		s.stored.Add(1)
	}
	return err
}

// An import takes no more memory for 50,000 targets than for a few.
func TestMemoryOfLargeImport(t *testing.T) {
	const n, bound = 50_000, 16 << 20
	lines := make([]string, 1000)
	for i := range lines {
		record := target(i)
		record.SignatureKey = nil
		lines[i] = encode(t, record)
	}
	in, out := io.Pipe()
	go func() {
		for i := range n {
			if i%1000 == 999 {
				_, _ = io.WriteString(out, "x\n")
				continue
			}
			_, _ = io.WriteString(out, lines[i%len(lines)])
		}
		_ = out.Close()
	}()
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var most uint64
	samples := 0
	store := new(endless)
	im := newImport(store)
	im.Progress = func(*transfer.Report, int64) {
		if samples++; samples%20 == 0 {
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
	}
	report, err := im.Run(t.Context(), in)
	if err != nil || report.Added != n-n/1000 || report.RefusedLines() != n/1000 || store.stored.Load() != report.Added {
		t.Fatalf("report %+v, error %v", report, err)
	}
	if most == 0 || most > before.HeapAlloc+bound {
		t.Errorf("the heap grew from %d to %d bytes", before.HeapAlloc, most)
	}
	t.Logf("the heap grew from %d to at most %d KiB", before.HeapAlloc>>10, most>>10)
}

package filesource

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// records writes a file of n targets.
func records(tb testing.TB, n int) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "targets.ndjson")
	file := must(os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600))
	w := bufio.NewWriter(file)
	for i := range n {
		_ = must(w.WriteString(line(target(fmt.Sprintf("target-%08d", i)))))
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	if err := file.Close(); err != nil {
		tb.Fatal(err)
	}
	return path
}

// heap is what is in use once garbage is gone.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestMemoryIsSmall(t *testing.T) {
	const n = 5_000
	path := records(t, n)
	before := heap()
	table, err := readTable(must(os.Open(path)))
	if err != nil {
		t.Fatal(err)
	}
	if used := heap() - before; used > 32*n+64<<10 {
		t.Errorf("%d targets take %d bytes", n, used)
	}
	for _, i := range []int{0, 1, n / 2, n - 1} {
		if _, err := table.target(ref(fmt.Sprintf("target-%08d", i))); err != nil {
			t.Errorf("target %d: %v", i, err)
		}
	}
	table.close()
}

func BenchmarkOpen(b *testing.B) {
	const n = 10_000
	path := records(b, n)
	b.ReportAllocs()
	for b.Loop() {
		table := must(readTable(must(os.Open(path))))
		table.close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/target")
}

func BenchmarkFind(b *testing.B) {
	table := must(readTable(must(os.Open(records(b, 10_000)))))
	defer table.close()
	at := ref("target-00005000")
	b.ReportAllocs()
	for b.Loop() {
		_ = must(table.target(at))
	}
}

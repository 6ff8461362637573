package qr

import (
	"fmt"
	"runtime"
	"testing"
)

// TestQRBudget bounds the bytes that a picture allocates, which unlike time is
// the same on every machine. The budget follows the content, nearly all of it the
// encoder's; even the largest picture adds little.
func TestQRBudget(t *testing.T) {
	const kb, mb = 1 << 10, 1 << 20
	tests := []struct {
		bytes, size int
		budget      uint64
	}{
		{300, 0, 3 * mb},
		{1300, 0, 10 * mb},
		{2953, 0, 30 * mb},
		{1, MaxSize, 3 * mb / 2},
	}
	for _, tt := range tests {
		content, o := link(tt.bytes), Options{Size: tt.size}
		const runs = 2
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			draw(t, content, o)
		}
		runtime.ReadMemStats(&after)
		got := (after.TotalAlloc - before.TotalAlloc) / runs
		t.Logf("%d bytes, size %d: %d KB", tt.bytes, tt.size, got/kb)
		if got > tt.budget {
			t.Errorf("%d bytes, size %d: %d KB allocated, budget %d KB", tt.bytes, tt.size, got/kb, tt.budget/kb)
		}
	}
}

func BenchmarkPNG(b *testing.B) {
	for _, n := range []int{300, 1300} {
		b.Run(fmt.Sprintf("%d bytes", n), func(b *testing.B) {
			content := link(n)
			size := 0
			b.ReportAllocs()
			for b.Loop() {
				png, err := PNG(b.Context(), content, Options{})
				if err != nil {
					b.Fatal(err)
				}
				size = len(png)
			}
			b.ReportMetric(float64(size), "png-bytes")
		})
	}
}

// BenchmarkPicture is the part of BenchmarkPNG that is not the encoder's.
func BenchmarkPicture(b *testing.B) {
	s, err := newSymbol(link(1300), LevelM)
	if err != nil {
		b.Fatal(err)
	}
	modules, err := s.modules()
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{DefaultSize, MaxSize} {
		b.Run(fmt.Sprintf("%d pixels", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := (picture{modules, size, size, black, white}).png(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package qr

import (
	"fmt"
	"math"
	"runtime"
	"testing"
)

// TestQRBudget bounds what a picture allocates, which unlike time is the same on
// every machine.
func TestQRBudget(t *testing.T) {
	for _, tt := range []struct{ bytes, size int }{{300, 0}, {1042, 400}, {1300, 300}, {2600, 400}, {2953, 0}, {1, MaxSize}} {
		content, o := link(tt.bytes), Options{Size: tt.size}
		if got := testing.AllocsPerRun(5, func() { drawPNG(t, content, o) }); got > 100 { // the race detector empties pools
			t.Errorf("%d bytes, size %d: %.0f allocations", tt.bytes, tt.size, got)
		}
		got := uint64(math.MaxUint64) // the least of several, as a collection empties the pools
		for range 20 {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			drawPNG(t, content, o)
			runtime.ReadMemStats(&after)
			got = min(got, after.TotalAlloc-before.TotalAlloc)
		}
		budget := uint64(100_000)
		if tt.size == MaxSize {
			budget = 200_000 // of which the lines of pixels are 132,000
		}
		t.Logf("%d bytes, size %d: %d bytes allocated", tt.bytes, tt.size, got)
		if got > budget {
			t.Errorf("%d bytes, size %d: %d bytes allocated, budget %d", tt.bytes, tt.size, got, budget)
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
	modules := s.draw()
	for _, size := range []int{DefaultSize, MaxSize} {
		b.Run(fmt.Sprintf("%d pixels", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				picture{modules, size, size, black, white}.png()
			}
		})
	}
}

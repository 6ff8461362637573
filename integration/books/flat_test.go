package books

import (
	"fmt"
	"io"
	"slices"
	"testing"
)

// measures are what is sampled of the product: series of its own metrics, and by
// how much one may rise between the last two thirds of a soak, beside a twentieth
// of itself: what comes and goes with the dispatches that are under way. The
// runtime collects garbage when the heap is twice what was alive the last time;
// a heap profile, which would collect it first, needs more memory than all else.
var measures = []struct {
	name, series string
	unit         float64
	slack        float64
}{
	{"live heap, MiB", "go_memstats_next_gc_bytes", 2 << 20, 1},
	{"RSS, MiB", "process_resident_memory_bytes", 1 << 20, 6},
	{"goroutines", "go_goroutines", 1, 10},
	{"descriptors", "process_open_fds", 1, 10},
}

// The indices of two measures.
const goroutines, descriptors = 2, 3

// rises tells whether a measure rose: whether the median of the last third of
// the samples is above that of the third before it by more than a twentieth and
// the slack. The first third is for warming up.
func rises(samples []float64, slack float64) (rises bool, earlier, later float64) {
	third := len(samples) / 3
	earlier, later = median(samples[third:2*third]), median(samples[2*third:])
	return later > earlier*1.05+slack, earlier, later
}

func median(samples []float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[len(sorted)/2]
}

// What leaks is found, and what comes and goes is not taken for a leak. A soak
// of 30 minutes has 340 samples and reloads, and some 20,000 dispatches.
func TestLeaksAreFound(t *testing.T) {
	const samples, reloads, dispatches = 340, 340, 20_000
	noise := func(i int) float64 { return float64(i * 7919 % 13) } // 0 to 12
	for name, test := range map[string]struct {
		measure int
		at      func(i int) float64
		want    bool
	}{
		"steady heap":                         {0, func(i int) float64 { return 20 + noise(i)/10 }, false},
		"heap that warms up":                  {0, func(i int) float64 { return 20 + min(float64(i), 90) }, false},
		"a peak":                              {0, func(i int) float64 { return 20 + float64(i/330)*50 }, false},
		"512 bytes of each dispatch":          {0, func(i int) float64 { return 20 + noise(i)/10 + float64(i)/samples*dispatches*512/(1<<20) }, true},
		"20 KiB of each reload":               {0, func(i int) float64 { return 20 + noise(i)/10 + float64(i)/samples*reloads*20/1024 }, true},
		"120 KiB of each reload, elsewhere":   {1, func(i int) float64 { return 100 + noise(i)/4 + float64(i)/samples*reloads*120/1024 }, true},
		"steady RSS":                          {1, func(i int) float64 { return 100 + noise(i)/4 }, false},
		"goroutines under load":               {2, func(i int) float64 { return 80 + noise(i) }, false},
		"a goroutine of every fourth reload":  {2, func(i int) float64 { return 80 + noise(i) + float64(i)/samples*reloads/4 }, true},
		"descriptors under load":              {3, func(i int) float64 { return 30 + noise(i) }, false},
		"a descriptor of every fourth reload": {3, func(i int) float64 { return 30 + noise(i) + float64(i)/samples*reloads/4 }, true},
	} {
		var all []float64
		for i := range samples {
			all = append(all, test.at(i))
		}
		if got, earlier, later := rises(all, measures[test.measure].slack); got != test.want {
			t.Errorf("%s: from %.1f to %.1f, rises: %v", name, earlier, later, got)
		}
	}
}

// sample measures the product.
func (p *product) sample() (values []float64) {
	p.t.Helper()
	metrics := p.scrape()
	for _, m := range measures {
		value, there := metrics[m.series]
		if !there {
			p.t.Fatalf("the product tells nothing of %s", m.series)
		}
		values = append(values, value/m.unit)
	}
	return values
}

// goroutines tells what they are at.
func (p *product) goroutines() string {
	response, err := p.client.Get("http://" + p.admin + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return string(text)
}

func format(values []float64) (text string) {
	for i, m := range measures {
		text += fmt.Sprintf("%s %.1f; ", m.name, values[i])
	}
	return text
}

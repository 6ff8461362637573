package redisstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// BenchmarkStore measures what a request makes of Redis on the same machine.
func BenchmarkStore(b *testing.B) {
	s := open(b, config(common))
	refs := make([]targets.Ref, 1000)
	for i := range refs {
		refs[i].ID = fmt.Sprint(i)
	}
	fill(b, s, refs)
	counts := []targets.Count{{Key: "a", N: 1e9, Window: time.Second}, {Key: "b", N: 1e9, Window: time.Second}}
	for name, f := range map[string]func(i int) error{
		"load":     func(i int) error { _, err := s.Load(b.Context(), refs[i%len(refs)]); return err },
		"update":   func(i int) error { return s.Update(b.Context(), refs[i%len(refs)], increment) },
		"ofDevice": func(i int) error { _, err := s.OfDevice(b.Context(), "", fmt.Sprint(i), "jeff"); return err },
		"take":     func(int) error { _, err := s.TakeAll(b.Context(), counts); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if err := f(i); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

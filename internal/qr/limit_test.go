package qr

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// withSlots gives the test slots of its own.
func withSlots(t *testing.T, n int) {
	saved := slots
	slots = make(chan struct{}, n)
	t.Cleanup(func() { slots = saved })
}

func TestPicturesAtOnceAreCapped(t *testing.T) {
	if want := 2 * runtime.GOMAXPROCS(0); cap(slots) != want {
		t.Errorf("cap of %d, want %d", cap(slots), want)
	}
	synctest.Test(t, func(t *testing.T) {
		withSlots(t, 2)
		slots <- struct{}{}
		slots <- struct{}{}

		var drawn atomic.Int32
		for range 5 {
			go func() {
				if _, err := PNG(t.Context(), "a", Options{}); err != nil {
					t.Error(err)
				}
				drawn.Add(1)
			}()
		}
		synctest.Wait()
		if n := drawn.Load(); n != 0 {
			t.Errorf("%d pictures drawn beyond the cap", n)
		}
		<-slots
		synctest.Wait()
		if n := drawn.Load(); n != 5 {
			t.Errorf("%d pictures drawn after a slot came free, want 5", n)
		}
		if len(slots) != 1 {
			t.Errorf("%d slots taken, want 1", len(slots))
		}
	})
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		withSlots(t, 1)
		slots <- struct{}{}

		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			_, err := PNG(ctx, "secret", Options{})
			result <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
}

func TestEndedContextDrawsNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	for range 20 { // a select would take a free slot every other time
		if b, err := PNG(ctx, "a", Options{}); b != nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %d bytes and %v, want context.DeadlineExceeded", len(b), err)
		}
	}
}

func TestPicturesDrawnTogether(t *testing.T) {
	want := map[int][]byte{}
	for n := 1; n <= 8; n++ {
		want[n] = drawPNG(t, link(n*20), Options{})
	}
	var wg sync.WaitGroup
	for range 4 {
		for n, picture := range want {
			wg.Go(func() {
				b, err := PNG(t.Context(), link(n*20), Options{})
				if err != nil || string(b) != string(picture) {
					t.Errorf("picture %d differs from the one drawn alone (%v)", n, err)
				}
			})
		}
	}
	wg.Wait()
}

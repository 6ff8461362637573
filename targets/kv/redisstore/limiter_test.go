package redisstore

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

func mustTake(t *testing.T, s *sidecar, want int, counts ...targets.Count) {
	t.Helper()
	if reached, err := s.TakeAll(t.Context(), counts); err != nil || reached != want {
		t.Errorf("reached %d, error %v, want %d", reached, err, want)
	}
}

func TestTake(t *testing.T) {
	s := open(t, config(common(t)))
	a := targets.Count{Key: "a", N: 2, Window: time.Hour}
	b := targets.Count{Key: "b", N: 3, Window: time.Hour}
	mustTake(t, s, -1)
	mustTake(t, s, -1, a, b)
	mustTake(t, s, -1, b, a)
	mustTake(t, s, 0, a, b) // b was not counted
	mustTake(t, s, 1, b, a)
	mustTake(t, s, -1, b)
	mustTake(t, s, 0, b, a)
	mustTake(t, s, 0, targets.Count{Key: "a", N: 1, Window: time.Hour})
	mustTake(t, s, -1, targets.Count{Key: "c", N: 1, Window: time.Hour})
}

// What is given back makes room for one more, and no more than that.
func TestGiveBack(t *testing.T) {
	s := open(t, config(common(t)))
	a := targets.Count{Key: "a", N: 2, Window: time.Hour}
	b := targets.Count{Key: "b", N: 2, Window: time.Hour}
	mustTake(t, s, -1, a, b)
	mustTake(t, s, -1, a, b)
	mustTake(t, s, 0, a, b)
	for _, counts := range [][]targets.Count{nil, {a}, {{Key: "unknown", N: 1, Window: time.Hour}}} {
		if err := s.redis.GiveBack(t.Context(), counts); err != nil {
			t.Error(err)
		}
	}
	mustTake(t, s, 1, a, b)
	mustTake(t, s, -1, a)
	mustTake(t, s, 0, a)
}

// What was counted falls out of the window one by one, by Redis's clock, and
// a counter that is not used any more goes away.
func TestWindowSlides(t *testing.T) {
	s := open(t, config(common(t)))
	const window = time.Hour
	c := targets.Count{Key: "a", N: 2, Window: window}
	key := s.redis.KeyPrefix + "{limit}:a"
	mustTake(t, s, -1, c)
	mustTake(t, s, -1, c)
	mustTake(t, s, 0, c)
	counted, err := s.shared.ZRangeWithScores(t.Context(), key, 0, -1).Result()
	if err != nil || len(counted) != 2 {
		t.Fatalf("counted %v, error %v", counted, err)
	}
	now, err := s.shared.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, z := range counted {
		if at := time.UnixMicro(int64(z.Score)); at.After(now) || now.Sub(at) > time.Minute {
			t.Errorf("counted at %s, while Redis's time is %s", at, now)
		}
	}
	shift := func(z redis.Z, by time.Duration) {
		t.Helper()
		z.Score -= float64(by.Microseconds())
		if err := s.shared.ZAdd(t.Context(), key, z).Err(); err != nil {
			t.Fatal(err)
		}
	}
	shift(counted[0], window-time.Minute)
	mustTake(t, s, 0, c) // still within
	shift(counted[0], window)
	mustTake(t, s, -1, c) // one has room
	mustTake(t, s, 0, c)
	if left, err := s.shared.PTTL(t.Context(), key).Result(); err != nil || left <= window-time.Minute || left > window {
		t.Errorf("the counter lives for %s, error %v", left, err)
	}
}

// Of 64 that ask two sidecars at once, exactly as many get through as the
// tightest limit allows, and the others are counted nowhere.
func TestTakeIsExact(t *testing.T) {
	c := config(common(t))
	sidecars := []*sidecar{open(t, c), open(t, c)}
	counts := []targets.Count{
		{Key: "client", N: 1000, Window: time.Hour},
		{Key: "target", N: 17, Window: time.Hour},
		{Key: "user", N: 40, Window: time.Minute},
	}
	var taken atomic.Int32
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			switch reached, err := sidecars[i%2].TakeAll(t.Context(), counts); {
			case err != nil:
				t.Error(err)
			case reached == -1:
				taken.Add(1)
			case reached != 1:
				t.Errorf("reached %d", reached)
			}
		})
	}
	wg.Wait()
	if taken.Load() != 17 {
		t.Errorf("%d got through, want 17", taken.Load())
	}
	for _, count := range counts {
		n, err := sidecars[0].shared.ZCard(t.Context(), sidecars[0].redis.KeyPrefix+"{limit}:"+count.Key).Result()
		if err != nil || n != 17 {
			t.Errorf("%s counted %d, error %v, want 17", count.Key, n, err)
		}
	}
}

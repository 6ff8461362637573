package redisstore

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/claimstest"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/seal"
)

const claimed = "the content of a claim"

func putClaim(t *testing.T, s *Store) (id string) {
	t.Helper()
	expires := time.Now().Add(time.Hour)
	id = claimstest.ID(expires)
	if err := s.Put(t.Context(), id, []byte(claimed), expires); err != nil {
		t.Fatal(err)
	}
	return id
}

func mustTakeClaim(t *testing.T, s *Store, id string) {
	t.Helper()
	if content, err := s.Get(t.Context(), id); err != nil || string(content) != claimed {
		t.Errorf("Get returned %q, error %v", content, err)
	}
	if content, err := s.Take(t.Context(), id); err != nil || string(content) != claimed {
		t.Errorf("Take returned %q, error %v", content, err)
	}
	mustHaveNoClaim(t, s, id)
}

func mustHaveNoClaim(t *testing.T, s *Store, id string) {
	t.Helper()
	if content, err := s.Take(t.Context(), id); !errors.Is(err, shortlink.ErrNotFound) {
		t.Errorf("Take returned %q, error %v", content, err)
	}
}

func TestClaimsKeepTheContract(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		claimstest.Run(t, func(t *testing.T) shortlink.Store { return open(t, config(common)) })
	})
	t.Run("sealed", func(t *testing.T) {
		claimstest.Run(t, func(t *testing.T) shortlink.Store { return sealed(t, config(common), 1) })
	})
}

// Of all that take a claim at any of the sidecars at once, one gets it.
func TestClaimIsTakenOnceByAllSidecars(t *testing.T) {
	c := config(common)
	sidecars := []*Store{open(t, c), open(t, c)}
	for range 10 {
		id := putClaim(t, sidecars[0])
		var taken atomic.Int32
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				switch content, err := sidecars[i%2].Take(t.Context(), id); {
				case err == nil && string(content) == claimed:
					taken.Add(1)
				case !errors.Is(err, shortlink.ErrNotFound):
					t.Errorf("Take returned %q, error %v", content, err)
				}
			})
		}
		wg.Wait()
		if taken.Load() != 1 {
			t.Errorf("%d got the claim", taken.Load())
		}
	}
}

// Redis keeps a claim at least until it expires, and never for good.
func TestClaimLifetime(t *testing.T) {
	s := open(t, config(common))
	for _, lifetime := range []time.Duration{
		time.Minute + time.Nanosecond, 90 * time.Minute, shortlink.MaxLifetime - time.Minute,
	} {
		expires := time.Now().Add(lifetime)
		id := claimstest.ID(expires)
		if err := s.Put(t.Context(), id, []byte(claimed), expires); err != nil {
			t.Fatal(err)
		}
		left, err := s.shared.PTTL(t.Context(), s.KeyPrefix+"claim:"+id).Result()
		if err != nil || left > lifetime+time.Millisecond || left < lifetime-30*time.Second {
			t.Errorf("of %s there are %s left, error %v", lifetime, left, err)
		}
	}
	for _, lifetime := range []time.Duration{0, -time.Hour, math.MinInt64} {
		id := claimstest.ID(time.Now())
		if err := s.Put(t.Context(), id, []byte(claimed), time.Now().Add(lifetime)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the end of a claim", func() bool {
			_, err := s.Get(t.Context(), id)
			return errors.Is(err, shortlink.ErrNotFound)
		})
	}
	for _, lifetime := range []time.Duration{shortlink.MaxLifetime + time.Hour, math.MaxInt64} {
		id := claimstest.ID(time.Now())
		if err := s.Put(t.Context(), id, []byte(claimed), time.Now().Add(lifetime)); err == nil {
			t.Errorf("a claim may live for %s", lifetime)
		}
		mustHaveNoClaim(t, s, id)
	}
}

func TestSealedClaimCannotBeChanged(t *testing.T) {
	c := config(common)
	s, plain := sealed(t, c, 1), open(t, c)
	id, another := putClaim(t, s), putClaim(t, s)
	key := s.KeyPrefix + "claim:" + id
	good, err := s.shared.Get(t.Context(), key).Result()
	if err != nil || strings.Contains(good, claimed) {
		t.Fatalf("redis holds %q, error %v", good, err)
	}
	foreign, err := s.shared.Get(t.Context(), s.KeyPrefix+"claim:"+another).Result()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"empty": "", "not sealed": claimed, "another claim": foreign, "cut off": good[:len(good)-1],
		"changed":       good[:len(good)-1] + string(good[len(good)-1]^1),
		"another key's": string(ring(t, 2).Seal([]byte(claimed), key)),
	} {
		if err := s.shared.Set(t.Context(), key, value, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		if content, err := s.Get(t.Context(), id); err == nil || errors.Is(err, shortlink.ErrNotFound) || content != nil {
			t.Errorf("%s: Get returned %q, error %v", name, content, err)
		}
		if content, err := s.Take(t.Context(), id); err == nil || errors.Is(err, shortlink.ErrNotFound) || content != nil {
			t.Errorf("%s: Take returned %q, error %v", name, content, err)
		}
	}
	if content, err := plain.Get(t.Context(), another); err == nil {
		t.Errorf("without the key Get returned %q", content)
	}
	mustTakeClaim(t, sealed(t, c, 2, 1), another) // as long as the old key is in the ring
}

func TestForeignValueIsNoClaim(t *testing.T) {
	s := open(t, config(common))
	id := claimstest.ID(time.Now())
	key := s.KeyPrefix + "claim:" + id
	for name, write := range map[string]func() error{
		"a list": func() error { return s.shared.RPush(t.Context(), key, "x").Err() },
		"too large": func() error {
			return s.shared.Set(t.Context(), key, bytes.Repeat([]byte("x"), shortlink.MaxContent+seal.Overhead+1), 0).Err()
		},
	} {
		if err := errors.Join(s.shared.Del(t.Context(), key).Err(), write()); err != nil {
			t.Fatal(err)
		}
		if content, err := s.Get(t.Context(), id); err == nil || errors.Is(err, shortlink.ErrNotFound) || content != nil {
			t.Errorf("%s: Get returned %.20q, error %v", name, content, err)
		}
		if content, err := s.Take(t.Context(), id); err == nil || errors.Is(err, shortlink.ErrNotFound) || content != nil {
			t.Errorf("%s: Take returned %.20q, error %v", name, content, err)
		}
	}
}

// A claim whose answer is lost on the way may be gone: that is an error, and
// not a claim that never was.
func TestLostClaim(t *testing.T) {
	thief := new(answerThief)
	c := config(common)
	c.Addresses = []string{thief.serve(t, common.addr)}
	s := open(t, c)
	id, another := putClaim(t, s), putClaim(t, s)
	thief.steal = 1
	content, err := s.Take(t.Context(), id)
	mustFail(t, "Take", err, "EOF")
	if content != nil {
		t.Errorf("Take returned %q", content)
	}
	thief.mustHaveStolen(t)
	mustHaveNoClaim(t, s, id)
	mustTakeClaim(t, s, another)
}

func TestClaimsOutliveARestart(t *testing.T) {
	t.Parallel()
	server := start(t, "--appendonly", "yes", "--appendfsync", "always")
	s := open(t, config(server))
	id := putClaim(t, s)
	server.kill()
	_, err := s.Take(t.Context(), id)
	mustFail(t, "Take", err, "connection refused")
	server.launch()
	eventually(t, "the end of loading", func() bool {
		_, err := s.Get(t.Context(), id)
		if errors.Is(err, shortlink.ErrNotFound) {
			t.Fatal("the claim got lost")
		}
		return err == nil
	})
	mustTakeClaim(t, s, id)
}

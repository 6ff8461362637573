package redisstore

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

const linked = "the content of a short link"

func putLink(t *testing.T, s *sidecar) (id string) {
	t.Helper()
	expires := time.Now().Add(time.Hour)
	id = kvtest.LinkID(expires)
	if err := s.Put(t.Context(), id, []byte(linked), expires); err != nil {
		t.Fatal(err)
	}
	return id
}

func mustTakeLink(t *testing.T, s *sidecar, id string) {
	t.Helper()
	if content, err := s.Get(t.Context(), id); err != nil || string(content) != linked {
		t.Errorf("Get returned %q, error %v", content, err)
	}
	if content, err := s.Take(t.Context(), id); err != nil || string(content) != linked {
		t.Errorf("Take returned %q, error %v", content, err)
	}
	mustHaveNoLink(t, s, id)
}

func mustHaveNoLink(t *testing.T, s *sidecar, id string) {
	t.Helper()
	if content, err := s.Take(t.Context(), id); !errors.Is(err, shortlink.ErrNotFound) {
		t.Errorf("Take returned %q, error %v", content, err)
	}
}

// Redis keeps a link at least until it expires, and never for good.
func TestLinkLifetime(t *testing.T) {
	s := open(t, config(common(t)))
	for _, lifetime := range []time.Duration{
		time.Minute + time.Nanosecond, 90 * time.Minute, shortlink.MaxLifetime - time.Minute,
	} {
		expires := time.Now().Add(lifetime)
		id := kvtest.LinkID(expires)
		if err := s.Put(t.Context(), id, []byte(linked), expires); err != nil {
			t.Fatal(err)
		}
		left, err := s.shared.PTTL(t.Context(), s.redis.KeyPrefix+"claim:"+id).Result()
		if err != nil || left > lifetime+time.Millisecond || left < lifetime-30*time.Second {
			t.Errorf("of %s there are %s left, error %v", lifetime, left, err)
		}
	}
	for _, lifetime := range []time.Duration{0, -time.Hour, math.MinInt64} {
		id := kvtest.LinkID(time.Now())
		if err := s.Put(t.Context(), id, []byte(linked), time.Now().Add(lifetime)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the end of a link", func() bool {
			_, err := s.Get(t.Context(), id)
			return errors.Is(err, shortlink.ErrNotFound)
		})
	}
	for _, lifetime := range []time.Duration{shortlink.MaxLifetime + time.Hour, math.MaxInt64} {
		id := kvtest.LinkID(time.Now())
		if err := s.Put(t.Context(), id, []byte(linked), time.Now().Add(lifetime)); err == nil {
			t.Errorf("a link may live for %s", lifetime)
		}
		mustHaveNoLink(t, s, id)
	}
}

func TestForeignValueIsNoLink(t *testing.T) {
	s := open(t, config(common(t)))
	id := kvtest.LinkID(time.Now())
	key := s.redis.KeyPrefix + "claim:" + id
	for name, write := range map[string]func() error{
		"a list": func() error { return s.shared.RPush(t.Context(), key, "x").Err() },
		"too large": func() error {
			return s.shared.Set(t.Context(), key, bytes.Repeat([]byte("x"), shortlink.MaxContent+kv.Overhead+1), 0).Err()
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

// A link whose answer is lost on the way may be gone: that is an error, and
// not a link that never was.
func TestLostLink(t *testing.T) {
	loss, c := new(loss), config(common(t))
	c.Addresses = []string{loss.serve(t)}
	s := open(t, c)
	id, another := putLink(t, s), putLink(t, s)
	loss.left.Store(1)
	content, err := s.Take(t.Context(), id)
	mustFail(t, "Take", err, "EOF")
	if content != nil {
		t.Errorf("Take returned %q", content)
	}
	if n := loss.left.Load(); n != 0 {
		t.Errorf("%d answers are still to be lost", n)
	}
	mustHaveNoLink(t, s, id)
	mustTakeLink(t, s, another)
}

package kvtest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
)

const lifetime = 10 * time.Minute

// LinkID returns the id of a new short link.
func LinkID(expires time.Time) string {
	id, _ := shortlink.ID("test", shortlink.NewHandle(expires))
	return id
}

func putLink(t *testing.T, s *store, content []byte) (id string) {
	t.Helper()
	expires := time.Now().Add(lifetime)
	id = LinkID(expires)
	if err := s.Put(t.Context(), id, content, expires); err != nil {
		t.Fatalf("Put: %v", err)
	}
	return id
}

func wantGone(t *testing.T, s *store, id string) {
	t.Helper()
	if content, err := s.Get(t.Context(), id); !errors.Is(err, shortlink.ErrNotFound) {
		t.Errorf("Get returned %q, %v, want ErrNotFound", content, err)
	}
	if content, err := s.Take(t.Context(), id); !errors.Is(err, shortlink.ErrNotFound) {
		t.Errorf("Take returned %q, %v, want ErrNotFound", content, err)
	}
}

func wantContent(t *testing.T, want []byte) func(content []byte, err error) {
	return func(content []byte, err error) {
		t.Helper()
		if err != nil || !bytes.Equal(content, want) {
			t.Errorf("got %.40q, %v, want %.40q", content, err, want)
		}
	}
}

// linkLife puts links of any content, which are kept until they are taken.
func linkLife(t *testing.T, s *store) {
	expires := time.Now().Add(lifetime)
	wantGone(t, s, LinkID(expires))
	contents := [][]byte{[]byte("content"), {0}, []byte("\r\n\x00\xff"), []byte(`{"a":"é"}`), bytes.Repeat([]byte{0xfe}, shortlink.MaxContent)}
	ids := make([]string, 0, len(contents))
	for _, content := range contents {
		ids = append(ids, putLink(t, s, content))
	}
	for i, id := range ids {
		for range 2 {
			wantContent(t, contents[i])(s.Get(t.Context(), id))
		}
		wantContent(t, contents[i])(s.Take(t.Context(), id))
		wantGone(t, s, id)
	}
	id := LinkID(expires)
	if err := s.Put(t.Context(), id, make([]byte, shortlink.MaxContent+1), expires); err == nil {
		t.Error("Put took more than MaxContent bytes")
	}
	wantGone(t, s, id)
}

func badIDs(t *testing.T, s *store) {
	expires := time.Now().Add(lifetime)
	good := putLink(t, s, []byte("content"))
	for _, id := range []string{
		"", ".", "..", "/", "../..", good[:len(good)-1], good + "0", strings.ToUpper(good[:4]) + "../" + good[7:],
		good[:4] + "/" + good[5:], good[:67] + "\n", good[:67] + "\x00", strings.Repeat("*", shortlink.IDLength),
	} {
		if err := s.Put(t.Context(), id, []byte("x"), expires); err == nil {
			t.Errorf("Put took the id %q", id)
		}
		if content, err := s.Get(t.Context(), id); err == nil {
			t.Errorf("Get of the id %q returned %q", id, content)
		}
		if content, err := s.Take(t.Context(), id); err == nil {
			t.Errorf("Take of the id %q returned %q", id, content)
		}
	}
	wantContent(t, []byte("content"))(s.Take(t.Context(), good))
}

func contention(t *testing.T, s *store) {
	content := []byte("content")
	id := putLink(t, s, content)
	const takers = 16
	var got, gone int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range takers {
		all.Go(func() {
			taken, err := s.Take(t.Context(), id)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && bytes.Equal(taken, content):
				got++
			case errors.Is(err, shortlink.ErrNotFound):
				gone++
			default:
				t.Errorf("Take returned %q, %v", taken, err)
			}
		})
	}
	all.Wait()
	if got != 1 || gone != takers-1 {
		t.Errorf("%d of %d got the link, %d did not find it", got, takers, gone)
	}
}

func cancelledLink(t *testing.T, s *store) {
	id := putLink(t, s, []byte("content"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	expires := time.Now().Add(lifetime)
	if err := s.Put(ctx, LinkID(expires), []byte("x"), expires); err == nil {
		t.Error("Put succeeded")
	}
	if _, err := s.Get(ctx, id); err == nil || errors.Is(err, shortlink.ErrNotFound) {
		t.Errorf("Get returned %v", err)
	}
	if _, err := s.Take(ctx, id); err == nil || errors.Is(err, shortlink.ErrNotFound) {
		t.Errorf("Take returned %v", err)
	}
	wantContent(t, []byte("content"))(s.Take(t.Context(), id))
}

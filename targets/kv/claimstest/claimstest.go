// Package claimstest tells whether a shortlink.Store keeps its contract, and has
// a store in memory for the tests of others.
package claimstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/shortlink"
)

// Run holds a store to the contract. open returns an empty store; what it
// needs is cleaned up with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) shortlink.Store) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s shortlink.Store)
	}{
		{"a claim is taken once", takenOnce},
		{"getting keeps a claim", kept},
		{"any bytes", anyBytes},
		{"not found", notFound},
		{"no more than MaxContent", tooLong},
		{"what is no id is refused", badIDs},
		{"many take one claim", contention},
		{"claims are separate", separate},
		{"cancelled context", cancelled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

const lifetime = 10 * time.Minute

// ID returns the id of a new handle.
func ID(expires time.Time) string {
	id, _ := shortlink.ID("test", shortlink.NewHandle(expires))
	return id
}

func put(t *testing.T, s shortlink.Store, content []byte) (id string) {
	t.Helper()
	expires := time.Now().Add(lifetime)
	id = ID(expires)
	if err := s.Put(t.Context(), id, content, expires); err != nil {
		t.Fatalf("Put: %v", err)
	}
	return id
}

func wantGone(t *testing.T, s shortlink.Store, id string) {
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

func takenOnce(t *testing.T, s shortlink.Store) {
	content := []byte("content")
	id := put(t, s, content)
	wantContent(t, content)(s.Take(t.Context(), id))
	wantGone(t, s, id)
}

func kept(t *testing.T, s shortlink.Store) {
	content := []byte("content")
	id := put(t, s, content)
	for range 3 {
		wantContent(t, content)(s.Get(t.Context(), id))
	}
	wantContent(t, content)(s.Take(t.Context(), id))
}

func anyBytes(t *testing.T, s shortlink.Store) {
	for _, content := range [][]byte{
		{0}, []byte("\r\n\x00\xff"), []byte(`{"a":"é"}`), bytes.Repeat([]byte{0xfe}, shortlink.MaxContent),
	} {
		id := put(t, s, content)
		wantContent(t, content)(s.Get(t.Context(), id))
		wantContent(t, content)(s.Take(t.Context(), id))
	}
}

func notFound(t *testing.T, s shortlink.Store) { wantGone(t, s, ID(time.Now().Add(lifetime))) }

func tooLong(t *testing.T, s shortlink.Store) {
	expires := time.Now().Add(lifetime)
	id := ID(expires)
	if err := s.Put(t.Context(), id, make([]byte, shortlink.MaxContent+1), expires); err == nil {
		t.Error("Put took more than MaxContent bytes")
	}
	wantGone(t, s, id)
}

func badIDs(t *testing.T, s shortlink.Store) {
	expires := time.Now().Add(lifetime)
	good := put(t, s, []byte("content"))
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

func contention(t *testing.T, s shortlink.Store) {
	content := []byte("content")
	id := put(t, s, content)
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
		t.Errorf("%d of %d got the claim, %d did not find it", got, takers, gone)
	}
}

func separate(t *testing.T, s shortlink.Store) {
	ids := make([]string, 20)
	for i := range ids {
		ids[i] = put(t, s, fmt.Append(nil, i))
	}
	for i, id := range ids {
		wantContent(t, fmt.Append(nil, i))(s.Take(t.Context(), id))
		wantGone(t, s, id)
	}
}

func cancelled(t *testing.T, s shortlink.Store) {
	id := put(t, s, []byte("content"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	expires := time.Now().Add(lifetime)
	if err := s.Put(ctx, ID(expires), []byte("x"), expires); err == nil {
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

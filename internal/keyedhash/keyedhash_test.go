package keyedhash

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var secret = []byte(strings.Repeat("s", MinSecret))

func TestOf(t *testing.T) {
	for name, key := range map[string]*Key{"a secret": New(secret), "the process": nil} {
		a := key.Of("token", "secret")
		if a != key.Of("token", "secret") {
			t.Errorf("%s: it is not the same for the same thing", name)
		}
		if a == key.Of("target", "secret") || a == key.Of("token", "secret2") || key.Of("a", "bc") == key.Of("ab", "c") {
			t.Errorf("%s: different things have the same hash", name)
		}
		if key.Of("token", "") != "" {
			t.Errorf("%s: nothing has a hash", name)
		}
		sum := sha256.Sum256([]byte("token\x00secret"))
		if a == base64.RawURLEncoding.EncodeToString(sum[:16]) {
			t.Errorf("%s: it can be computed without the key", name)
		}
	}
}

// The hash of a thing is the same in each process that has the secret. The value
// was computed with OpenSSL.
func TestOfASecret(t *testing.T) {
	if got := New(secret).Of("user", "jeff"); got != "5tWW2zXSURQW66IA_pmu1A" {
		t.Error(got)
	}
	if one, other := NewSecret(), NewSecret(); New(one).Of("user", "jeff") == New(other).Of("user", "jeff") {
		t.Error("two secrets make the same hash")
	}
}

func TestFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		broken := errors.New("the store is down")
		var works atomic.Bool
		var fetched, told atomic.Int32
		k := Fetched(ctx, func(context.Context) ([]byte, error) {
			if fetched.Add(1); !works.Load() {
				return nil, broken
			}
			return secret, nil
		}, func(err error) {
			if told.Add(1); !errors.Is(err, broken) {
				t.Error(err)
			}
		})
		if fetched.Load() != 0 {
			t.Error("the secret was fetched before it was needed")
		}
		var process *Key
		if k.Of("user", "jeff") != process.Of("user", "jeff") {
			t.Error("the key of the process does not take its place")
		}
		time.Sleep(3 * fetchPause)
		synctest.Wait()
		works.Store(true)
		time.Sleep(2 * fetchPause)
		synctest.Wait()
		if before := fetched.Load(); k.Of("user", "jeff") != New(secret).Of("user", "jeff") || fetched.Load() != before || told.Load() != 1 {
			t.Errorf("fetched %d times, told %d times", fetched.Load(), told.Load())
		}
	})
}

func BenchmarkOf(b *testing.B) {
	k := New(secret)
	b.ReportAllocs()
	for b.Loop() {
		k.Of("target", "6b5ad8bb-3b0a-4d2c-9d1b-6f3d8d8b2c11")
	}
}

package kvtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// primitives tests what a backend does below the store.
func primitives(t *testing.T, open func(t *testing.T) kv.Backend) {
	for name, test := range map[string]func(*testing.T, kv.Backend){
		"compare and swap": swaps,
		"deleting":         deletes,
		"scanning":         scans,
		"keys":             keys,
		"expiry":           expiry,
		"expired links":    expired,
		"a deadline":       deadline,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func key(kind kv.Kind, digit string) kv.Key {
	return kv.Key{Kind: kind, Name: strings.Repeat(digit, 64)}
}

func get(t *testing.T, b kv.Backend, key kv.Key) *kv.Value {
	t.Helper()
	v, err := b.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustHold(t *testing.T, b kv.Backend, key kv.Key, want string) {
	t.Helper()
	switch v := get(t, b, key); {
	case v == nil && want != "":
		t.Errorf("there is nothing, want %q", want)
	case v != nil && string(v.Data) != want:
		t.Errorf("there is %q, want %q", v.Data, want)
	}
}

func swaps(t *testing.T, b kv.Backend) {
	for _, kind := range []kv.Kind{kv.Records, kv.Devices} {
		k := key(kind, "a")
		swap := func(old *kv.Value, data string, want bool) {
			t.Helper()
			var next []byte
			if data != "" {
				next = []byte(data)
			}
			if done, err := b.Swap(t.Context(), k, old, next); done != want || err != nil {
				t.Errorf("swapping to %q: %t, error %v", data, done, err)
			}
		}
		swap(nil, "one", true)
		one := get(t, b, k)
		swap(nil, "other", false)
		swap(one, "two\x00\r\n\xff", true)
		two := get(t, b, k)
		if one == nil || two == nil || two.Version == one.Version {
			t.Fatalf("two writes left %v and %v, want values of two versions", one, two)
		}
		swap(one, "other", false)
		swap(one, "", false)
		mustHold(t, b, k, "two\x00\r\n\xff")
		swap(two, "", true)
		mustHold(t, b, k, "")
		swap(two, "other", false)
		mustHold(t, b, k, "")
		swap(nil, "three", true)
		mustHold(t, b, k, "three")
	}
	mustHold(t, b, key(kv.Records, "b"), "")
}

func deletes(t *testing.T, b kv.Backend) {
	k := key(kv.Records, "a")
	set(t, b, k, []byte("x"))
	for _, want := range []bool{true, false} {
		if found, err := b.Delete(t.Context(), k); found != want || err != nil {
			t.Errorf("deleting: found %t, error %v", found, err)
		}
	}
	mustHold(t, b, k, "")
}

func scans(t *testing.T, b kv.Backend) {
	const n = 600
	want := make([]string, 0, n)
	for i := range n {
		k := kv.Key{Kind: kv.Records, Name: fmt.Sprintf("%02x%062x", i%256, i)}
		want = append(want, k.Name)
		set(t, b, k, fmt.Append(nil, i))
		if i < 3 {
			set(t, b, kv.Key{Kind: kv.Devices, Name: k.Name}, []byte("list"))
		}
	}
	count := func(kind kv.Kind) []string {
		var got []string
		err := b.Scan(t.Context(), kind, func(name string, v *kv.Value) error {
			got = append(got, name)
			if v == nil || kind == kv.Records && !strings.HasSuffix(name, fmt.Sprintf("%x", must(t, string(v.Data)))) {
				t.Errorf("%s has the value %v", name, v)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		slices.Sort(got)
		return slices.Compact(got)
	}
	slices.Sort(want)
	if got := count(kv.Records); !slices.Equal(got, want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
	if got := count(kv.Devices); len(got) != 3 {
		t.Errorf("lists %q", got)
	}
	stop := errors.New("stop")
	if err := b.Scan(t.Context(), kv.Records, func(string, *kv.Value) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error %v, want that of the caller", err)
	}
}

func must(t *testing.T, text string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func keys(t *testing.T, b kv.Backend) {
	seen := make(map[string]bool)
	for _, kind := range []kv.Kind{kv.Records, kv.Devices, kv.Links} {
		for _, digit := range []string{"a", "b"} {
			k := key(kind, digit)
			if kind == kv.Links {
				k.Name += "0000"
			}
			place := b.Place(k)
			if seen[place] || !strings.Contains(strings.ReplaceAll(place, "/", ""), k.Name) || place != b.Place(k) {
				t.Errorf("%v has the place %q", k, place)
			}
			seen[place] = true
		}
	}
}

func expiry(t *testing.T, b kv.Backend) {
	k := kv.Key{Kind: kv.Links, Name: LinkID(time.Now().Add(time.Minute))}
	if err := b.Put(t.Context(), k, []byte("x"), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	mustHold(t, b, k, "x")
	if data, err := b.Take(t.Context(), k); string(data) != "x" || err != nil {
		t.Errorf("took %q, error %v", data, err)
	}
	if data, err := b.Take(t.Context(), k); data != nil || err != nil {
		t.Errorf("took %q again, error %v", data, err)
	}
}

// expired puts a link whose time is over, so that nobody has to wait for it.
func expired(t *testing.T, b kv.Backend) {
	put := func(expires time.Time) kv.Key {
		t.Helper()
		k := kv.Key{Kind: kv.Links, Name: LinkID(expires)}
		if err := b.Put(t.Context(), k, []byte("x"), expires); err != nil {
			t.Fatal(err)
		}
		return k
	}
	soon := time.Now().Add(time.Minute)
	over, living := put(time.Now().Add(-24*time.Hour)), put(soon)
	put(soon) // now the first may be dropped, but not the second
	testservice.Until(t, func() bool { return get(t, b, over) == nil }, func() string { return "a link is kept that expired a day ago" })
	mustHold(t, b, living, "x")
}

// deadline has a swap come too late: it does nothing.
func deadline(t *testing.T, b kv.Backend) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	k := key(kv.Records, "a")
	if done, err := b.Swap(ctx, k, nil, []byte("late")); done || err == nil {
		t.Errorf("a late swap: %t, error %v", done, err)
	}
	mustHold(t, b, k, "")
}

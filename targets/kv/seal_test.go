package kv

import (
	"bytes"
	"strings"
	"testing"
)

func secret(b byte) []byte { return bytes.Repeat([]byte{b}, KeySize) }

func newRing(t *testing.T, keys ...byte) *Ring {
	t.Helper()
	var secrets [][]byte
	for _, k := range keys {
		secrets = append(secrets, secret(k))
	}
	r, err := NewRing(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRoundTrip(t *testing.T) {
	r := newRing(t, 1)
	for _, record := range []string{"", "x", strings.Repeat("record ", 10_000)} {
		sealed := r.Seal([]byte(record), "place")
		if len(sealed) != len(record)+Overhead || len(record) > 1 && bytes.Contains(sealed, []byte(record)) {
			t.Errorf("%d bytes were sealed to %d, want %d unreadable ones", len(record), len(sealed), len(record)+Overhead)
		}
		got, current, err := r.Open(sealed, "place")
		if err != nil || !current || got == nil || string(got) != record {
			t.Errorf("opened %q, current %t, error %v", got, current, err)
		}
		if bytes.Equal(sealed, r.Seal([]byte(record), "place")) {
			t.Error("sealing twice gives the same")
		}
	}
}

func TestRotation(t *testing.T) {
	sealed := newRing(t, 1).Seal([]byte("record"), "place")
	for name, test := range map[string]struct {
		ring    *Ring
		current bool
		failure string
	}{
		"the key itself":    {newRing(t, 1), true, ""},
		"a newer key first": {newRing(t, 2, 1), false, ""},
		"a newer key last":  {newRing(t, 1, 2), true, ""},
		"without the key":   {newRing(t, 2, 3), false, "which the store does not have"},
		"not sealing":       {nil, false, "option seal"},
	} {
		record, current, err := test.ring.Open(sealed, "place")
		if test.failure != "" {
			if err == nil || !strings.Contains(err.Error(), test.failure) || record != nil {
				t.Errorf("%s: opened %q, error %v, want %q", name, record, err, test.failure)
			}
			continue
		}
		if err != nil || current != test.current || string(record) != "record" {
			t.Errorf("%s: opened %q, current %t, error %v", name, record, current, err)
		}
	}
}

func TestWhatWasNotSealedHereIsRefused(t *testing.T) {
	r := newRing(t, 1)
	good := r.Seal([]byte("record"), "place")
	bad := map[string][]byte{
		"nothing":      nil,
		"not sealed":   []byte(`{"schema":1}`),
		"a longer one": append(bytes.Clone(good), 0),
		"key swapped":  append(append([]byte(magic), newRing(t, 2).keys[0].id...), good[header:]...),
	}
	for i := range good {
		bad["cut at "+string(rune(i))] = good[:i]
		for bit := range 8 {
			flipped := bytes.Clone(good)
			flipped[i] ^= 1 << bit
			bad["flipped at "+string(rune(8*i+bit))] = flipped
		}
	}
	for name, data := range bad {
		if record, _, err := r.Open(data, "place"); err == nil || record != nil {
			t.Errorf("%q: opened %q, error %v", name, record, err)
		}
	}
	for _, place := range []string{"", "plac", "place2"} {
		if record, _, err := r.Open(good, place); err == nil || record != nil {
			t.Errorf("opened for place %q: %q", place, record)
		}
	}
}

func TestAcceptUnsealed(t *testing.T) {
	r := newRing(t, 1)
	r.acceptUnsealed = true
	if record, current, err := r.Open([]byte("record"), "place"); err != nil || current || string(record) != "record" {
		t.Errorf("opened %q, current %t, error %v", record, current, err)
	}
	changed := r.Seal([]byte("record"), "place")
	changed[len(changed)-1] ^= 1
	if record, _, err := r.Open(changed, "place"); err == nil {
		t.Errorf("opened what was changed: %q", record)
	}
}

func TestNilRingSealsNothing(t *testing.T) {
	var r *Ring
	sealed := r.Seal([]byte("record"), "place")
	if record, current, err := r.Open(sealed, "elsewhere"); err != nil || !current || string(record) != "record" || string(sealed) != "record" {
		t.Errorf("opened %q, current %t, error %v", record, current, err)
	}
}

func TestNewRingRefuses(t *testing.T) {
	for want, keys := range map[string][][]byte{
		"no key":               nil,
		"key 1: it has 0":      {nil},
		"key 2: it has 16":     {secret(1), secret(2)[:16]},
		"key 3 is given twice": {secret(1), secret(2), secret(1)},
	} {
		if _, err := NewRing(keys...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d keys gave error %v, want %q", len(keys), err, want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	r, err := NewRing(secret(1), secret(2))
	if err != nil {
		f.Fatal(err)
	}
	good := r.Seal([]byte("record"), "place")
	f.Add(good)
	f.Add(good[:header])
	f.Add([]byte(magic))
	f.Add([]byte(`{"schema":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if record, _, err := r.Open(data, "place"); err == nil && string(record) != "record" {
			t.Errorf("opened %q", record)
		}
	})
}

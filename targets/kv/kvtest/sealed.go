package kvtest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// tampering tests that what others than the store itself have written is
// unavailable, and never overwritten. read and write go past the seal.
func tampering(t *testing.T, s *store) {
	read, write := s.readRaw, s.writeRaw
	ref, other := targets.Ref{Namespace: "bank", ID: "one"}, targets.Ref{Namespace: "bank", ID: "two"}
	put(t, s, ref, Target(ref))
	put(t, s, other, Target(other))
	good := read(ref)
	plain, err := targets.Encode(Target(ref), ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"token:1", "jeff", "thumbprint-1", "device-1"} {
		if bytes.Contains(good, []byte(secret)) {
			t.Errorf("the stored record shows %q", secret)
		}
	}
	bad := map[string][]byte{
		"not sealed":              plain,
		"sealed for another id":   read(other),
		"empty":                   {},
		"header alone":            good[:20],
		"something behind":        append(bytes.Clone(good), 0),
		"two records":             append(bytes.Clone(good), good...),
		"plain behind the header": append(bytes.Clone(good[:17]), plain...),
	}
	for i, at := range []int{0, 9, 17, len(good) / 2, len(good) - 1} { // magic, key, nonce, content, tag
		flipped := bytes.Clone(good)
		flipped[at] ^= 1 << i
		bad[fmt.Sprintf("byte %d flipped", at)] = flipped
		bad[fmt.Sprintf("cut to %d bytes", at)] = good[:at]
	}
	for name, data := range bad {
		write(ref, data)
		if record, err := s.Load(t.Context(), ref); err == nil {
			t.Errorf("%s: loaded %+v", name, record)
		}
		mustBeUnavailable(t, s, ref)
		if !bytes.Equal(read(ref), data) {
			t.Errorf("%s: the record was overwritten", name)
		}
		mustHeal(t, s, ref, Target(ref))
		write(ref, data)
		mustHeal(t, s, ref, nil)
		if t.Failed() {
			t.Fatalf("%s: failed, see above", name)
		}
	}
	write(ref, good)
	load(t, s, ref)
}

// resealing tests the change of keys: nothing is lost, and what cannot be read
// is told of.
func resealing(t *testing.T, b kv.Backend) {
	old, both, next := newStore(t, b, Ring(t, 1)), newStore(t, b, Ring(t, 2, 1)), newStore(t, b, Ring(t, 2))
	const count = 20
	refs := make([]targets.Ref, 0, count)
	for i := range count {
		ref := targets.Ref{Namespace: "bank", ID: fmt.Sprint(i)}
		refs = append(refs, ref)
		put(t, old, ref, Target(ref))
	}
	damaged := targets.Ref{ID: "damaged"}
	old.writeRaw(damaged, []byte("damaged"))
	var reported []string
	n, err := both.Reseal(t.Context(), func(e *targets.RecordError) error {
		reported = append(reported, e.Hash)
		return nil
	})
	if err != nil || n != len(refs)+1 || !slices.Equal(reported, []string{damaged.Hash()}) {
		t.Errorf("resealed %d, reported %q, error %v", n, reported, err)
	}
	for _, ref := range refs {
		load(t, next, ref)
	}
	if ids, err := next.OfDevice(t.Context(), "bank", "device-1", "jeff"); err != nil || len(ids) != len(refs) {
		t.Errorf("the device has %q, error %v", ids, err)
	}
	stop := errors.New("stop")
	if _, err := both.Reseal(t.Context(), func(*targets.RecordError) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error %v, want that of the caller", err)
	}
	if _, err := both.Remove(t.Context(), damaged.Hash()); err != nil {
		t.Fatal(err)
	}
	if n, err := both.Reseal(t.Context(), func(e *targets.RecordError) error { return e }); n != 0 || err != nil {
		t.Errorf("resealed %d again, error %v", n, err)
	}
}

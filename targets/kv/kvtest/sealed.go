package kvtest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets"
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
	for i := 0; i < len(good); i += s.stride() {
		flipped := bytes.Clone(good)
		flipped[i] ^= 1 << (i % 8)
		bad[fmt.Sprintf("byte %d flipped", i)] = flipped
	}
	for i := 1; i < len(good); i += 7 * s.stride() {
		bad[fmt.Sprintf("cut to %d bytes", i)] = good[:i]
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

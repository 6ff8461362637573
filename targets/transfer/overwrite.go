package transfer

import (
	"bytes"
	"errors"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// Overwrite says what happens to a target that the store holds already.
type Overwrite string

// The ways to treat a target that the store holds already.
const (
	// Newer replaces a record by one that was updated after it, but never a
	// modification of the device by an older one of the same registration.
	Newer  Overwrite = "newer"
	Never  Overwrite = "never"
	Always Overwrite = "always"
)

// Set implements pflag.Value.
func (o *Overwrite) Set(text string) error {
	switch value := Overwrite(text); value {
	case Newer, Never, Always:
		*o = value
		return nil
	}
	return errors.New("use newer, never or always")
}

// String implements pflag.Value.
func (o *Overwrite) String() string { return string(*o) }

// Type implements pflag.Value.
func (*Overwrite) Type() string { return "when" }

type outcome int

const (
	added outcome = iota
	replaced
	unchanged
	kept
)

// of tells what becomes of a record where the store holds the present one.
func (o Overwrite) of(present, next *targets.Target) outcome {
	switch {
	case present == nil:
		return added
	case same(present, next):
		return unchanged
	case o == Always, o == Newer && newer(next, present):
		return replaced
	default:
		return kept
	}
}

func newer(a, b *targets.Target) bool {
	older := a.Created.Equal(b.Created) && a.Modified < b.Modified
	return a.Updated.After(b.Updated) && !older
}

func same(a, b *targets.Target) bool {
	textA, errA := targets.Encode(a, a.Ref())
	textB, errB := targets.Encode(b, b.Ref())
	return errA == nil && errB == nil && bytes.Equal(textA, textB)
}

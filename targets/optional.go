package targets

import "context"

// What a Store may be able to do besides. The conformance suite (storetest)
// holds for these as well.

// Lister is a Store that can go through its records: to list and export them,
// and to find those of one user. It is not for the path of a request.
type Lister interface {
	// Each calls f for every target, of all namespaces, in no order and with
	// few of them in memory, until f returns an error, which Each returns. A
	// record that cannot be read comes as a nil target with an error of type
	// *RecordError; f decides whether to go on. A target that changes
	// meanwhile may be missed, and one may come twice.
	Each(ctx context.Context, f func(t *Target, err error) error) error
}

// Remover is a Store that can remove a record without reading it, which is how
// an operator is rid of a damaged one. The target is unknown then, so a key
// source may bring it back.
type Remover interface {
	// Remove removes the record of a target. Removing what is not there is
	// no error.
	Remove(ctx context.Context, ref Ref) error

	// RemoveHash removes the record with a Ref.Hash, and tells whether there
	// was one.
	RemoveHash(ctx context.Context, hash string) (found bool, err error)
}

// Located is a Store that can tell where its records are.
type Located interface {
	// Location returns the same text for all stores with the same records,
	// whatever else is configured differently. It is not for people.
	Location() string
}

// Resealer is a Store that seals its records with a ring of keys (package
// seal).
type Resealer interface {
	// Reseal seals again, with the first key, what other keys sealed or
	// nobody did, and returns how many records those were. It calls f for
	// each record that cannot be read, and ends with f's first error. No key
	// may be taken away, nor accept_unsealed, before it has succeeded.
	Reseal(ctx context.Context, f func(*RecordError) error) (n int, err error)
}

// Checker is a Store that can tell whether it works, for an operator who asks.
type Checker interface {
	// Check tries the store. The error says why it is unavailable, the
	// warnings what should be configured otherwise.
	Check(ctx context.Context) (warnings []string, err error)
}

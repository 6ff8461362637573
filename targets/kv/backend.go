// Package kv keeps dispatch targets and short links as bytes under keys. What a
// store does with a record stands here once: encoding, sealing, the index of
// devices, listing, resealing, healing and removing what cannot be read. A
// storage below it, a Backend, knows bytes, versions and expiry, and nothing of
// targets.
//
// A further store is a Caddy module that embeds Options and implements Backend;
// see package caddystore, and kvtest.Backend for the smallest one.
package kv

import (
	"context"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// Kind tells what is under a key.
type Kind int

// The kinds of keys.
const (
	Records Kind = iota // dispatch targets
	Devices             // which targets a user has on a device
	Links               // short links, which expire
	Marker              // what belongs to the storage itself: a marker that it is there, and the hash key
)

// Key names a value. Its name has lower-case hexadecimal digits only: a hash of
// 64 digits, or the id of a short link (shortlink.ValidID).
type Key struct {
	Kind Kind
	Name string
}

// Value is what is under a key.
type Value struct {
	Data []byte

	// Version is another text for other data, or at least for every write.
	Version string
}

// Backend is a storage. Implementations are safe for concurrent use and end
// when the context does. Every error means that the storage is unavailable: an
// outage must never look like a key without a value.
//
// A Backend is used for a while after its Cleanup, too: a reload does not wait
// for the exchanges of the old configuration. It shares its connections with the
// Backend of the new configuration if that has the same (caddy.UsagePool, as in
// redisstore), and where they have been closed the storage is unavailable.
type Backend interface {
	// Get returns the value under a key, or nil where there is none.
	Get(ctx context.Context, key Key) (*Value, error)

	// Swap replaces old, which Get or Scan returned, by data, if it is still
	// there. A nil old stands for no value, nil data deletes. It returns
	// whether data is there now: false means that another change came first. Data
	// that is gone already may count as deleted.
	// What it has written is durable. One that reaches the storage after the
	// context's deadline is refused there, where the storage can do that. The
	// kind is never Links.
	Swap(ctx context.Context, key Key, old *Value, data []byte) (done bool, err error)

	// Delete removes what is under a key, and tells whether there was
	// anything.
	Delete(ctx context.Context, key Key) (found bool, err error)

	// Scan calls f for every key of a kind, one at a time and in no order,
	// until f returns an error, which Scan returns. A key that changes
	// meanwhile may be missed, and one may come twice. It is not for the path
	// of a request, and not bounded by Options.Timeout as a whole.
	Scan(ctx context.Context, kind Kind, f func(name string, v *Value) error) error

	// Put keeps a short link durably until it expires. The storage drops it at
	// some time after that.
	Put(ctx context.Context, key Key, data []byte, expires time.Time) error

	// Take returns the data of a short link, or nil where there is none, and
	// deletes it. Of several that take it one gets it.
	Take(ctx context.Context, key Key) ([]byte, error)

	// Counter counts for all processes that share the storage. It is nil where
	// the storage cannot count.
	Counter() targets.Counter

	// Place is the text that a value is sealed for, usually the storage's own
	// name for the key. It must stay the same for as long as there are values.
	Place(key Key) string

	// Location is the same text for all backends with the same values, however
	// else they are configured. It is not for people.
	Location() string
}

// Former is a Backend that may hold lists of the targets of a device as releases
// wrote them that did not tell users apart. They are read, never written.
type Former interface {
	// FormerDevice returns the ids in a list. The name is the Ref.Hash of
	// namespace and device id; open opens what is sealed for a place.
	FormerDevice(ctx context.Context, name string, open func(data []byte, place string) ([]byte, error)) (ids []string, err error)

	// DropFormer removes all lists.
	DropFormer(ctx context.Context) error
}

// Package targets keeps what the sidecar knows of dispatch targets: whose key,
// which address. It defines the record and the contract of the stores and key
// sources that hold it, and it learns and forgets targets as nevisFIDO's
// callers create, change and delete them. It is free of Caddy; each store and
// each source is a guest module in a package below this one.
package targets

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"
)

// Caddy module namespaces of the guests.
const (
	StoreNamespace     = "oob.stores"
	KeySourceNamespace = "oob.key_sources"
)

// SchemaVersion is the version of the record that this release writes. A
// record with a higher version was written by a newer release during a rolling
// upgrade. It tells from which version on it may be read (Target.MinSchema): a
// release that knows enough leaves the members that it does not know as they
// are, and to an older one the record is unavailable and never overwritten. A
// release that adds members raises its version; it leaves MinSchema where it
// is only if readers do right without them.
const SchemaVersion = 1

// State says whether a target may be used.
type State string

// The states of a target.
const (
	Active State = "active"
	// Expired: the channel reported the address as gone. No dispatch until
	// the target is modified.
	Expired State = "expired"
	// Stale: nevisFIDO may hold another key or address than the record.
	Stale State = "stale"
)

// Target is the record of one dispatch target.
type Target struct {
	Schema     int    `json:"schema"`
	MinSchema  int    `json:"min_schema,omitzero"` // that a reader has to know; 0 for Schema
	Namespace  string `json:"namespace,omitempty"`
	ID         string `json:"id"`
	ExtID      string `json:"ext_id,omitempty"`
	Username   string `json:"username,omitempty"`
	DeviceID   string `json:"device_id,omitempty"`
	Name       string `json:"name,omitempty"`
	Address    string `json:"target,omitempty"`     // such as a push token; secret
	Dispatcher string `json:"dispatcher,omitempty"` // the name that the device asked for

	// EncryptionKey and SignatureKey are JWKs of public members only.
	EncryptionKey json.RawMessage `json:"encryption_key,omitempty"`
	SignatureKey  json.RawMessage `json:"signature_key,omitempty"`
	Thumbprint    string          `json:"thumbprint,omitempty"` // of EncryptionKey, RFC 7638

	// KeyRefused says why the encryption key that the device brought last is
	// not kept (encrypt.Reason). Such a target has no EncryptionKey, and must
	// not be taken for one that never had any.
	KeyRefused string `json:"key_refused,omitempty"`

	// KeySince is when EncryptionKey was first seen.
	KeySince time.Time `json:"key_since,omitzero"`

	Source  string    `json:"source"`  // create, registration, modify, or a key source's name
	Created time.Time `json:"created"` // zero where nothing but Marks and Doubt is known
	Updated time.Time `json:"updated"`
	State   State     `json:"state"`

	// Modified is creationTimeInEpochMillis of the last modification that
	// was applied; an older one is not.
	Modified int64 `json:"modified,omitzero"`

	// Marks stand for changes that nevisFIDO may be making just now, Doubt
	// names the members that it may hold otherwise. While there are any, the
	// state is stale, and Settled is the one to return to.
	Marks   []Mark   `json:"marks,omitempty"`
	Doubt   []string `json:"doubt,omitempty"`
	Settled State    `json:"settled,omitempty"`

	// unknown holds the members of a newer release, as a JSON object. They
	// end with the keys that they were written beside.
	unknown []byte
}

// Ref names a target within the store: several nevisFIDOs or tenants share one
// store by namespaces.
type Ref struct{ Namespace, ID string }

// Ref returns the name of a target.
func (t *Target) Ref() Ref { return Ref{Namespace: t.Namespace, ID: t.ID} }

// Hash returns 64 hexadecimal digits that stand for the reference where the id
// itself must not: in keys and file names.
func (r Ref) Hash() string { return hash(r.Namespace, r.ID) }

func hash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		var length [8]byte
		for i := range length {
			length[i] = byte(len(p) >> (8 * i) & 0xff)
		}
		h.Write(length[:])
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ErrNotFound reports a target that the store or source does not hold. Every
// other error of a store means that it is unavailable: the target may exist.
var ErrNotFound = errors.New("dispatch target not found")

// Change turns the present record (nil where there is none) into the wanted
// one. It returns nil to delete the record, and an equal one to leave
// everything as it is. It may change the record it was given and return that.
// An error leaves the record alone and is returned by Update. It may be called
// more than once.
type Change func(current *Target) (*Target, error)

// Store keeps the records. Implementations are safe for concurrent use and
// honour the context. One conformance suite (storetest) holds for all.
type Store interface {
	// Load returns a target, or ErrNotFound. The caller may change the
	// record it gets.
	Load(ctx context.Context, ref Ref) (*Target, error)

	// Update applies a change to one target atomically, as far as the
	// storage beneath can tell: no other Update of this process, and none of
	// another process where the store is made for several, comes in between.
	// When it returns nil the new record is durable. A record that is there
	// and cannot be read is a *RecordError, here and in Load.
	Update(ctx context.Context, ref Ref, change Change) error

	// OfDevice returns the ids of the targets that a device has, as far as
	// the records say. It leaves none out, but after a crash it may name some
	// that the device has no more.
	OfDevice(ctx context.Context, namespace, deviceID string) ([]string, error)
}

// KeySource finds targets that the store does not hold, such as those created
// before the sidecar was installed.
type KeySource interface {
	// Find returns a target, or ErrNotFound.
	Find(ctx context.Context, ref Ref) (*Target, error)
}

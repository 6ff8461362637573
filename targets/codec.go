package targets

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// SchemaVersion is the highest version of the record that this release knows. A
// record has the lowest that has all its members. A record with a higher version
// was written by a newer release during a rolling upgrade. It tells from which
// version on it may be read (Target.MinSchema): a release that knows enough leaves
// the members that it does not know as they are, and to an older one the record is
// unavailable and never overwritten. A release that adds members raises its
// version; it writes a MinSchema below it only if readers do right without them.
const SchemaVersion = blockedSchema

const (
	plainSchema = 2

	// blockedSchema has Target.Blocked: a release that does not know it must
	// not send anything, and records without it are as they were before.
	blockedSchema = 3
)

// MaxRecord bounds an encoded record, in bytes.
const MaxRecord = 64 << 10

// ErrNewer reports a record of a newer release that this one must not read,
// nor replace.
var ErrNewer = errors.New("the record demands a newer release")

// Record is a target as it is read: as this release writes it, or as releases
// with schema 1 did. Call Upgrade after reading one.
type Record struct {
	Target
	schema1
}

// schema1 are the members that only records of schema 1 have.
type schema1 struct {
	// Status is what a record of schema 1 calls the state.
	Status  State    `json:"state,omitempty"`
	Settled State    `json:"settled,omitempty"` // to return to, of a stale record
	Doubt   []string `json:"doubt,omitempty"`
	Marks   []struct {
		ID      string    `json:"id"`
		At      time.Time `json:"at"`
		Members []string  `json:"members"`
		Shared  bool      `json:"shared,omitempty"`
	} `json:"marks,omitempty"`
}

var (
	errDamaged = errors.New("reading dispatch target: the record is damaged")
	errOther   = errors.New("the record is that of another target")
)

// Upgrade makes the target one of SchemaVersion. It is an error if the record
// has members that its schema has not.
func (r *Record) Upgrade() error {
	if r.Schema > 1 {
		if r.Status != "" || r.Settled != "" || r.Doubt != nil || r.Marks != nil || r.Schema < blockedSchema && !r.Blocked.IsZero() {
			return errDamaged
		}
		return nil
	}
	if !r.Blocked.IsZero() || r.Fence != nil || r.Unsure != nil || r.GoneAddress != "" || r.MinSchema > 1 {
		return errDamaged
	}
	if r.Status != Active && r.Status != Expired && r.Status != Stale || r.Settled != "" && r.Settled != Active && r.Settled != Expired {
		return errDamaged
	}
	r.Schema, r.MinSchema, r.Unsure = plainSchema, 0, r.Doubt
	if r.Status == Expired || r.Settled == Expired {
		r.quarantine()
	}
	for _, m := range r.Marks {
		r.addFence(FencedChange{m.ID, m.At}, m.Members)
		r.Fence.Shared = r.Fence.Shared || m.Shared
	}
	if r.Status == Stale && r.State() != Stale { // it does not tell why
		r.Unsure = allMembers()
	}
	r.schema1 = schema1{}
	return nil
}

// Decode reads the record of the target with a Ref.Hash strictly: that of another
// target is an error, and so is a member that is not known, unless the record says
// that it was written by a newer release and may be read by this one. Errors are
// ErrNewer, or mean that the record is damaged; their texts quote nothing of it.
func Decode(data []byte, hash string) (*Target, error) {
	if len(data) > MaxRecord {
		return nil, fmt.Errorf("reading dispatch target: the record has %d bytes, more than %d", len(data), MaxRecord)
	}
	var r struct {
		Record
		Unknown jsontext.Value `json:",embed"`
	}
	err := json.Unmarshal(data, &r)
	if err != nil || r.MinSchema != 0 || r.Schema > SchemaVersion {
		if err := forUs(data); err != nil {
			return nil, err
		}
	}
	if err != nil || r.Schema < 1 || len(r.Unknown) > 0 && r.Schema <= SchemaVersion {
		return nil, errDamaged
	}
	r.unknown = r.Unknown
	if err := r.Upgrade(); err != nil {
		return nil, err
	}
	t := &r.Target
	if t.Ref().Hash() != hash {
		return nil, fmt.Errorf("reading dispatch target: %w", errOther)
	}
	if err := t.check(t.Ref()); err != nil {
		return nil, fmt.Errorf("reading dispatch target: %w", err)
	}
	return t, nil
}

// forUs tells whether a record may be read by this release. The members of one
// that may not be can be of any type.
func forUs(data []byte) error {
	var version struct {
		Schema    int  `json:"schema"`
		MinSchema *int `json:"min_schema"`
	}
	if err := json.Unmarshal(data, &version); err != nil || version.Schema < 1 {
		return errDamaged
	}
	demanded := version.Schema
	if version.MinSchema != nil {
		demanded = *version.MinSchema
	}
	switch {
	case demanded > SchemaVersion:
		return fmt.Errorf("reading dispatch target: %w: it has schema %d, to be read from schema %d on; this one knows %d", ErrNewer, version.Schema, demanded, SchemaVersion)
	case demanded < 1 || demanded > version.Schema:
		return errDamaged
	}
	return nil
}

// Encode returns a record as a store keeps it. It is an error if the record is
// not the one that ref names, is inconsistent, or longer than MaxRecord.
func Encode(t *Target, ref Ref) ([]byte, error) {
	if err := t.check(ref); err != nil {
		return nil, fmt.Errorf("encoding dispatch target: %w", err)
	}
	record := *t
	needs := plainSchema
	if !t.Blocked.IsZero() {
		needs = blockedSchema
	}
	if len(t.unknown) == 0 {
		record.Schema, record.MinSchema = needs, 0
	} else {
		record.MinSchema = max(record.MinSchema, needs)
	}
	data, err := json.Marshal(struct {
		*Target
		Unknown jsontext.Value `json:",embed"`
	}{&record, t.unknown})
	if err != nil {
		return nil, errors.New("encoding dispatch target: a member is not valid UTF-8 or not valid JSON")
	}
	if len(data) > MaxRecord {
		return nil, fmt.Errorf("encoding dispatch target: the record has %d bytes, more than %d", len(data), MaxRecord)
	}
	return data, nil
}

// check tells whether the record is consistent and the one that ref names.
func (t *Target) check(ref Ref) error {
	switch {
	case t.Namespace != ref.Namespace || t.ID != ref.ID:
		return errOther
	case (t.EncryptionKey == nil) != (t.Thumbprint == ""):
		return errors.New("encryption key and thumbprint do not go together")
	case t.EncryptionKey != nil && t.KeyRefused != "":
		return errors.New("the record has an encryption key, and that it was refused")
	case t.Fence != nil && len(t.Fence.Changes) == 0:
		return errors.New("the record has a fence without a change")
	}
	return nil
}

// Equal tells whether two records, nil for none, are the same.
func Equal(a, b *Target) bool {
	if a == nil || b == nil {
		return a == b
	}
	textA, errA := Encode(a, a.Ref())
	textB, errB := Encode(b, b.Ref())
	return errA == nil && errB == nil && bytes.Equal(textA, textB)
}

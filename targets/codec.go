package targets

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
)

// MaxRecord bounds an encoded record, in bytes.
const MaxRecord = 64 << 10

// Encode returns a record as a store keeps it. It is an error if the record is
// not the one that ref names, is inconsistent, or longer than MaxRecord.
func Encode(t *Target, ref Ref) ([]byte, error) {
	if err := t.check(ref); err != nil {
		return nil, fmt.Errorf("encoding dispatch target: %w", err)
	}
	record := *t
	record.Schema = SchemaVersion
	data, err := json.Marshal(&record)
	if err != nil {
		return nil, errors.New("encoding dispatch target: a member is not valid UTF-8 or not valid JSON")
	}
	if len(data) > MaxRecord {
		return nil, fmt.Errorf("encoding dispatch target: the record has %d bytes, more than %d", len(data), MaxRecord)
	}
	return data, nil
}

// Decode reads a record strictly: unknown members, a newer schema, and the
// record of another target are errors. Error texts quote nothing of it.
func Decode(data []byte, ref Ref) (*Target, error) {
	t, err := decode(data)
	if err != nil {
		return nil, err
	}
	if err := t.check(ref); err != nil {
		return nil, fmt.Errorf("reading dispatch target: %w", err)
	}
	return t, nil
}

// DecodeHash is Decode where no more than Ref.Hash is known of the target.
func DecodeHash(data []byte, hash string) (*Target, error) {
	t, err := decode(data)
	if err != nil {
		return nil, err
	}
	ref := t.Ref()
	if ref.Hash() != hash {
		return nil, errors.New("reading dispatch target: the record is that of another target")
	}
	if err := t.check(ref); err != nil {
		return nil, fmt.Errorf("reading dispatch target: %w", err)
	}
	return t, nil
}

func decode(data []byte) (*Target, error) {
	if len(data) > MaxRecord {
		return nil, fmt.Errorf("reading dispatch target: the record has %d bytes, more than %d", len(data), MaxRecord)
	}
	var version struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, errors.New("reading dispatch target: the record is damaged")
	}
	if version.Schema > SchemaVersion {
		return nil, fmt.Errorf("reading dispatch target: schema %d was written by a newer release; this one knows %d", version.Schema, SchemaVersion)
	}
	t := new(Target)
	if err := json.Unmarshal(data, t, json.RejectUnknownMembers(true)); err != nil || version.Schema < 1 {
		return nil, errors.New("reading dispatch target: the record is damaged")
	}
	return t, nil
}

// check tells whether the record is consistent and the one that ref names.
func (t *Target) check(ref Ref) error {
	switch {
	case t.Namespace != ref.Namespace || t.ID != ref.ID:
		return errors.New("the record is that of another target")
	case t.State != Active && t.State != Expired && t.State != Stale:
		return errors.New("the record has no known state")
	case t.Settled != "" && t.Settled != Active && t.Settled != Expired:
		return errors.New("the record returns to no known state")
	case (t.EncryptionKey == nil) != (t.Thumbprint == ""):
		return errors.New("encryption key and thumbprint do not go together")
	}
	return nil
}

package targets

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxRecord bounds an encoded record, in bytes.
const MaxRecord = 64 << 10

// ErrNewer reports a record of a newer release that this one must not read,
// nor replace.
var ErrNewer = errors.New("the record demands a newer release")

// encoded is a record as it is stored. Members of newer releases stay as they
// are.
type encoded struct {
	*Target
	Unknown jsontext.Value `json:",embed"`
}

// Encode returns a record as a store keeps it. It is an error if the record is
// not the one that ref names, is inconsistent, or longer than MaxRecord.
func Encode(t *Target, ref Ref) ([]byte, error) {
	if err := t.check(ref); err != nil {
		return nil, fmt.Errorf("encoding dispatch target: %w", err)
	}
	record := *t
	if len(t.unknown) == 0 {
		record.Schema, record.MinSchema = SchemaVersion, 0
	}
	data, err := json.Marshal(encoded{&record, t.unknown})
	if err != nil {
		return nil, errors.New("encoding dispatch target: a member is not valid UTF-8 or not valid JSON")
	}
	if len(data) > MaxRecord {
		return nil, fmt.Errorf("encoding dispatch target: the record has %d bytes, more than %d", len(data), MaxRecord)
	}
	return data, nil
}

// Decode reads a record strictly: the record of another target is an error, and
// so is a member that is not known, unless the record says that it was written
// by a newer release and may be read by this one. Errors are ErrNewer, or mean
// that the record is damaged; their texts quote nothing of it.
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

var errDamaged = errors.New("reading dispatch target: the record is damaged")

func decode(data []byte) (*Target, error) {
	if len(data) > MaxRecord {
		return nil, fmt.Errorf("reading dispatch target: the record has %d bytes, more than %d", len(data), MaxRecord)
	}
	var version struct {
		Schema    int  `json:"schema"`
		MinSchema *int `json:"min_schema"`
	}
	if err := json.Unmarshal(data, &version); err != nil || version.Schema < 1 {
		return nil, errDamaged
	}
	demanded := version.Schema
	if version.MinSchema != nil {
		demanded = *version.MinSchema
	}
	switch {
	case demanded > SchemaVersion:
		return nil, fmt.Errorf("reading dispatch target: %w: it has schema %d, to be read from schema %d on; this one knows %d", ErrNewer, version.Schema, demanded, SchemaVersion)
	case demanded < 1 || demanded > version.Schema:
		return nil, errDamaged
	}
	r := encoded{Target: new(Target)}
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, errDamaged
	}
	if len(r.Unknown) > 0 && (version.Schema <= SchemaVersion || r.misspelt()) {
		return nil, errDamaged
	}
	r.unknown = r.Unknown
	return r.Target, nil
}

// misspelt tells whether a member that is not known may be one that is, with a
// damaged byte in its name: a record must not lose its key or its doubts so.
func (r *encoded) misspelt() bool {
	var members map[string]jsontext.Value
	if json.Unmarshal(r.Unknown, &members) != nil {
		return true
	}
	for name := range members {
		for _, known := range memberNames() {
			if distance(name, known) == 1 {
				return true
			}
		}
	}
	return false
}

// memberNames returns what the members of a record are called.
var memberNames = sync.OnceValue(func() (names []string) {
	for field := range reflect.TypeFor[Target]().Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	return names
})

// distance counts the bytes in which two names of the same length differ. It
// is -1 for others.
func distance(a, b string) int {
	if len(a) != len(b) {
		return -1
	}
	n := 0
	for i := range len(a) {
		if a[i] != b[i] {
			n++
		}
	}
	return n
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
	case t.EncryptionKey != nil && t.KeyRefused != "":
		return errors.New("the record has an encryption key, and that it was refused")
	}
	return nil
}

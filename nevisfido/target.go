package nevisfido

import (
	"errors"
	"maps"
	"slices"
	"strconv"

	"github.com/oob-dispatch/oob-dispatch/internal/strictjson"
)

// TargetDescription is what a device or an app says of a dispatch target: the
// body of a create request, or dispatchTarget in a registration's context.
type TargetDescription struct {
	Username   string
	DeviceID   string
	Name       string
	Target     string // the address on the dispatcher's channel, such as a push token
	Dispatcher string // the target's default dispatcher

	// Keys as JWK objects, or what stands where a key belongs and is none.
	EncryptionKey, SignatureKey []byte

	Guesses Guesses // by which it was read

	body strictjson.Value
}

// Keys are the keys of a dispatch target: JWK objects, or whatever is where a
// key belongs, to be refused when it is vetted. What there is not is nil.
type Keys struct {
	Encryption, Signature []byte

	// Unclear tells that there are keys, and that nothing tells which one
	// encrypts. Then neither is given, unless a documented name gives it.
	Unclear bool

	Guesses Guesses // by which they were found
}

// Documented names of the keys, of nevisFIDO and of nevisIDM.
const encryptionName = "encryptionKey"

var signatureNames = []string{"signatureKey", "signingKey"}

// keylessMembers are members of a target, or of a request about it, that are
// documented and hold no key.
var keylessMembers = []string{
	"username", "deviceId", "name", "target", "dispatcher", "dispatchTargetId", "requestId", "creationTimeInEpochMillis",
	"fidouaf_name", "fidouaf_device_id", "fidouaf_target", "fidouaf_dispatcher",
}

// FindKeys picks the keys among the properties of a generic credential in
// nevisIDM. No reference names these properties. A lone key of which nothing
// tells what it is for is the signature key, unless it is an RSA key: nevisIDM
// wants every target to have one.
func FindKeys[V ~[]byte](properties map[string]V) Keys {
	var s keySearch
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		value, err := strictjson.Parse(properties[name])
		switch {
		case errors.Is(err, strictjson.ErrTooManyValues):
			s.search.exceeded = true
		case err != nil:
			value = strictjson.Opaque(properties[name])
		}
		s.member(name, value)
	}
	return s.keys(signing)
}

// findKeys picks the keys among the members of an object.
func findKeys(o strictjson.Value, lone purpose) Keys {
	var s keySearch
	for name, member := range o.Children() {
		s.member(name, member)
	}
	return s.keys(lone)
}

// unclearKey stands for keys of which nothing tells which one encrypts. It is
// refused as any set of keys is, so that the target does not pass for keyless.
var unclearKey = []byte(`{"keys":[]}`)

// ParseTarget reads the body of a create request (nevisFIDO reference guide,
// dispatch target service) strictly. Keys that do not have their documented
// names are found by their shape; a lone one is the encryption key.
func ParseTarget(body []byte) (*TargetDescription, error) {
	o, err := strictjson.ParseObject(body)
	if err != nil {
		return nil, err
	}
	return readTarget(o)
}

func readTarget(o strictjson.Value) (*TargetDescription, error) {
	err := o.RefuseVariants("username", "deviceId", "name", "target", "dispatcher", "encryptionKey", "signatureKey")
	if err != nil {
		return nil, err
	}
	t := &TargetDescription{body: o}
	err = o.Strings(
		strictjson.Text{Name: "username", To: &t.Username}, strictjson.Text{Name: "deviceId", To: &t.DeviceID}, strictjson.Text{Name: "name", To: &t.Name},
		strictjson.Text{Name: "target", To: &t.Target}, strictjson.Text{Name: "dispatcher", To: &t.Dispatcher},
	)
	if err != nil {
		return nil, err
	}
	keys := findKeys(o, encrypting)
	t.Guesses = keys.Guesses
	t.EncryptionKey, t.SignatureKey = keys.Encryption, keys.Signature
	if keys.Unclear && !present(keys.Encryption) {
		t.EncryptionKey = unclearKey
	}
	return t, nil
}

// WithDispatcher returns the create request with nothing but the dispatcher's
// name changed.
func (t *TargetDescription) WithDispatcher(name string) []byte {
	return t.body.With(strictjson.Edit{Name: "dispatcher", Value: strictjson.Quote(name)})
}

// CreatedTarget is nevisFIDO's answer to a create request.
type CreatedTarget struct {
	ID, ExtID string
	Guesses   Guesses // by which they were found
}

// ParseCreated reads the answer to a create request.
func ParseCreated(body []byte) (CreatedTarget, error) {
	o, err := strictjson.ParseObject(body)
	if err != nil {
		return CreatedTarget{}, err
	}
	return readCreated(o)
}

func readCreated(o strictjson.Value) (CreatedTarget, error) {
	var c CreatedTarget
	if err := o.Strings(strictjson.Text{Name: "id", To: &c.ID}, strictjson.Text{Name: "extId", To: &c.ExtID}); err != nil {
		return CreatedTarget{}, err
	}
	if c.ID == "" {
		return CreatedTarget{}, ErrNoID
	}
	return c, nil
}

// Modification is the payload of the JWS that changes a dispatch target. Its
// member names are documented for the sibling device service only.
type Modification struct {
	TargetID   string
	RequestID  string
	CreatedAt  int64 // creationTimeInEpochMillis; 0 where absent
	Name       *string
	Target     *string
	Dispatcher *string

	// Keys as in TargetDescription, nil where they do not change.
	EncryptionKey, SignatureKey []byte

	// UnclearKeys tells that keys change, and that nothing tells which.
	UnclearKeys bool

	Guesses Guesses // by which it was read
}

// ParseModification reads the payload of a modify request. Keys that do not
// have their documented names are found by their shape, at any depth.
func ParseModification(payload []byte) (*Modification, error) {
	o, err := strictjson.ParseObject(payload)
	if err != nil {
		return nil, err
	}
	err = o.RefuseVariants("dispatchTargetId", "creationTimeInEpochMillis", "name", "target", "dispatcher", "encryptionKey", "signatureKey")
	if err != nil {
		return nil, err
	}
	keys := findKeys(o, unknownPurpose)
	m := &Modification{EncryptionKey: keys.Encryption, SignatureKey: keys.Signature, UnclearKeys: keys.Unclear, Guesses: keys.Guesses}
	if err := o.Strings(strictjson.Text{Name: "dispatchTargetId", To: &m.TargetID}, strictjson.Text{Name: "requestId", To: &m.RequestID}); err != nil {
		return nil, err
	}
	for name, to := range map[string]**string{"name": &m.Name, "target": &m.Target, "dispatcher": &m.Dispatcher} {
		if !o.Member(name).Exists() {
			continue
		}
		s, err := o.String(name)
		if err != nil {
			return nil, err
		}
		*to = &s
	}
	if created := o.Member("creationTimeInEpochMillis"); created.Exists() {
		if m.CreatedAt, err = strconv.ParseInt(string(created.Raw()), 10, 64); err != nil {
			return nil, errors.New("creationTimeInEpochMillis is not a whole number")
		}
	}
	return m, nil
}

// OnlyDispatcher reports whether nothing but the default dispatcher changes.
func (m *Modification) OnlyDispatcher() bool {
	return m.Dispatcher != nil && m.Name == nil && m.Target == nil && m.EncryptionKey == nil && m.SignatureKey == nil && !m.UnclearKeys
}

// RenameDispatchers puts other dispatcher names into the answer of the query
// service; rename gets a target's id and nevisFIDO's name and returns the name
// to show. Everything else stays as it was.
func RenameDispatchers(body []byte, rename func(id, dispatcher string) string) ([]byte, error) {
	o, err := strictjson.ParseObject(body)
	if err != nil {
		return nil, err
	}
	list := o.Member("dispatchTargets")
	if !list.Exists() {
		return body, nil
	}
	if list.Kind() != '[' {
		return nil, errors.New("dispatchTargets is not an array")
	}
	renamedList := list.Map(func(target strictjson.Value) []byte {
		if target.Kind() != '{' {
			err = errors.New("an element of dispatchTargets is not an object")
		}
		return renamed(target, rename)
	})
	if err != nil {
		return nil, err
	}
	return o.With(strictjson.Edit{Name: "dispatchTargets", Value: renamedList}), nil
}

func renamed(target strictjson.Value, rename func(id, dispatcher string) string) []byte {
	id, errID := target.String("id")
	dispatcher, errName := target.String("dispatcher")
	if errID != nil || errName != nil || id == "" {
		return target.Raw()
	}
	name := rename(id, dispatcher)
	if name == dispatcher {
		return target.Raw()
	}
	return target.With(strictjson.Edit{Name: "dispatcher", Value: strictjson.Quote(name)})
}

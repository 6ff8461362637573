package nevisfido

import (
	"errors"
	"strconv"
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

	body *object
}

// unclearKey stands for keys of which nothing tells which one encrypts. It is
// refused as any set of keys is, so that the target does not pass for keyless.
var unclearKey = []byte(`{"keys":[]}`)

// ParseTarget reads the body of a create request (nevisFIDO reference guide,
// dispatch target service) strictly. Keys that do not have their documented
// names are found by their shape; a lone one is the encryption key.
func ParseTarget(body []byte) (*TargetDescription, error) {
	o, err := parseObject(body)
	if err != nil {
		return nil, err
	}
	err = o.refuseVariants("username", "deviceId", "name", "target", "dispatcher", "encryptionKey", "signatureKey")
	if err != nil {
		return nil, err
	}
	t := &TargetDescription{body: o}
	err = o.strings(map[string]*string{
		"username": &t.Username, "deviceId": &t.DeviceID, "name": &t.Name,
		"target": &t.Target, "dispatcher": &t.Dispatcher,
	})
	if err != nil {
		return nil, err
	}
	keys := o.keys(encrypting)
	t.EncryptionKey, t.SignatureKey = keys.Encryption, keys.Signature
	if keys.Unclear && !present(keys.Encryption) {
		t.EncryptionKey = unclearKey
	}
	return t, nil
}

// keys finds the keys among the members.
func (o *object) keys(lone purpose) Keys {
	var s keySearch
	for _, m := range o.members {
		s.member(m.name, o.text[m.start:m.end])
	}
	return s.keys(lone)
}

// WithDispatcher returns the create request with nothing but the dispatcher's
// name changed.
func (t *TargetDescription) WithDispatcher(name string) []byte {
	return t.body.apply(edit{"dispatcher", quote(name)})
}

// CreatedTarget is nevisFIDO's answer to a create request.
type CreatedTarget struct{ ID, ExtID string }

// ParseCreated reads the answer to a create request.
func ParseCreated(body []byte) (CreatedTarget, error) {
	o, err := parseObject(body)
	if err != nil {
		return CreatedTarget{}, err
	}
	var c CreatedTarget
	if err := o.strings(map[string]*string{"id": &c.ID, "extId": &c.ExtID}); err != nil {
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

	onlyDispatcher bool
}

// ParseModification reads the payload of a modify request. Keys that do not
// have their documented names are found by their shape, at any depth.
func ParseModification(payload []byte) (*Modification, error) {
	o, err := parseObject(payload)
	if err != nil {
		return nil, err
	}
	err = o.refuseVariants("dispatchTargetId", "creationTimeInEpochMillis", "name", "target", "dispatcher", "encryptionKey", "signatureKey")
	if err != nil {
		return nil, err
	}
	keys := o.keys(unsaid)
	m := &Modification{EncryptionKey: keys.Encryption, SignatureKey: keys.Signature, UnclearKeys: keys.Unclear}
	if err := o.strings(map[string]*string{"dispatchTargetId": &m.TargetID, "requestId": &m.RequestID}); err != nil {
		return nil, err
	}
	for name, to := range map[string]**string{"name": &m.Name, "target": &m.Target, "dispatcher": &m.Dispatcher} {
		if o.raw(name) == nil {
			continue
		}
		s, err := o.string(name)
		if err != nil {
			return nil, err
		}
		*to = &s
	}
	if raw := o.raw("creationTimeInEpochMillis"); raw != nil {
		if m.CreatedAt, err = strconv.ParseInt(raw.String(), 10, 64); err != nil {
			return nil, errors.New("creationTimeInEpochMillis is not a whole number")
		}
	}
	m.onlyDispatcher = m.Dispatcher != nil && m.Name == nil && m.Target == nil && m.EncryptionKey == nil && m.SignatureKey == nil && !m.UnclearKeys
	return m, nil
}

// OnlyDispatcher reports whether nothing but the default dispatcher changes.
func (m *Modification) OnlyDispatcher() bool { return m.onlyDispatcher }

// RenameDispatchers puts other dispatcher names into the answer of the query
// service; rename gets a target's id and nevisFIDO's name and returns the name
// to show. Everything else stays as it was.
func RenameDispatchers(body []byte, rename func(id, dispatcher string) string) ([]byte, error) {
	o, err := parseObject(body)
	if err != nil {
		return nil, err
	}
	list := o.raw("dispatchTargets")
	if list == nil {
		return body, nil
	}
	dec := decoderOf(list)
	defer dec.done()
	if token, err := dec.ReadToken(); err != nil || token.Kind() != '[' {
		return nil, errors.New("dispatchTargets is not an array")
	}
	out := make([]byte, 0, len(list)+len(list)/8)
	at := 0
	for dec.PeekKind() != ']' {
		value, err := dec.ReadValue()
		if err != nil {
			return nil, cause(err)
		}
		end := int(dec.InputOffset())
		start := end - len(value)
		target, err := parseObject(list[start:end])
		if err != nil {
			return nil, err
		}
		out = append(out, list[at:start]...)
		out = append(out, renamed(target, rename)...)
		at = end
	}
	out = append(out, list[at:]...)
	return o.apply(edit{"dispatchTargets", out}), nil
}

func renamed(target *object, rename func(id, dispatcher string) string) []byte {
	id, errID := target.string("id")
	dispatcher, errName := target.string("dispatcher")
	if errID != nil || errName != nil || id == "" {
		return target.text
	}
	name := rename(id, dispatcher)
	if name == dispatcher {
		return target.text
	}
	return target.apply(edit{"dispatcher", quote(name)})
}

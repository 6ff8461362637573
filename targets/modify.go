package targets

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// freshFor is the clock skew that nevisFIDO allows by default.
const freshFor = 5 * time.Minute

// modification is the request to modify a target.
type modification struct {
	jws     []byte                  // nil where it was too long
	payload *nevisfido.Modification // nil where it is unreadable

	// Of the record that was read last.
	verified bool  // with our signature key
	modified int64 // its member Modified
}

// judge does not believe what somebody else has signed.
func (m *modification) judge(current *Target) (members []string, disbelieved bool) {
	m.verified, m.modified = false, 0
	if current != nil {
		m.modified = current.Modified
	}
	if key := current.signatureKey(); key != nil && m.jws != nil {
		_, err := key.Verify(string(m.jws))
		m.verified = err == nil
		disbelieved = !m.verified
	}
	if m.payload == nil {
		return allMembers(), disbelieved
	}
	return membersOf(m.payload), disbelieved
}

// payloadOf returns what a JWS says, verified or not, nil where that cannot be
// read.
func payloadOf(jws string) *nevisfido.Modification {
	payload, err := encrypt.UnverifiedPayload(jws)
	if err != nil {
		return nil
	}
	m, err := nevisfido.ParseModification(payload)
	if err != nil {
		return nil
	}
	return m
}

// signatureKey returns the target's signature key if nevisFIDO certainly has
// the same.
func (t *Target) signatureKey() *encrypt.SignatureKey {
	if t == nil || t.SignatureKey == nil || t.unsure(memberSignatureKey) {
		return nil
	}
	key, err := encrypt.ParseSignatureKey(t.SignatureKey)
	if err != nil {
		return nil
	}
	return key
}

func membersOf(m *nevisfido.Modification) []string {
	if m.UnclearKeys {
		return allMembers()
	}
	brought := map[string]bool{
		memberName:          m.Name != nil,
		memberAddress:       m.Target != nil,
		memberDispatcher:    m.Dispatcher != nil,
		memberEncryptionKey: m.EncryptionKey != nil,
		memberSignatureKey:  m.SignatureKey != nil,
	}
	return slices.DeleteFunc(allMembers(), func(name string) bool { return !brought[name] })
}

// concerns includes unknown targets: another process may be learning this one from
// a change that overlaps.
func (*modification) concerns(*Target) bool { return true }

func (*modification) also(context.Context, *Directory) ([]Ref, error) { return nil, nil }

func (m *modification) applyTo(c *Change, ref Ref, current *Target, alone bool) (*Target, []Event) {
	if m.payload == nil {
		next := c.d.giveUp(ref, current, c.source, "")
		if current.empty() {
			return next, nil
		}
		return next, []Event{{Name: EventDropped, Ref: ref, User: current.user(), Source: c.source, Reason: whyUnreadable}}
	}
	if why, members := m.objection(c, ref, current, alone); why != "" {
		return c.d.markStale(ref, current, members, c.source, why)
	}
	return m.takeOver(c, ref, current)
}

// objection tells why an accepted modification is not applied, and which
// members are unsure then.
func (m *modification) objection(c *Change, ref Ref, current *Target, alone bool) (why string, members []string) {
	p := m.payload
	switch {
	case c.disbelieved:
		return whySignature, allMembers()
	case p.TargetID != "" && p.TargetID != ref.ID:
		return whyTargetID, allMembers()
	case p.UnclearKeys:
		return whyUnclearKeys, allMembers()
	case m.verified && !c.d.fresh(p.CreatedAt):
		return whyNotFresh, c.members
	case p.CreatedAt != 0 && current != nil && p.CreatedAt < current.Modified:
		return whyOlder, c.members
	case !alone:
		return whyConcurrent, c.members // with another change, in an order that is not known
	}
	return "", nil
}

// fresh tells whether a time that a device has signed, in milliseconds, is now.
// Zero stands for none.
func (d *Directory) fresh(createdAt int64) bool {
	age := d.now().Sub(time.UnixMilli(createdAt))
	return createdAt == 0 || age.Abs() <= freshFor
}

// takeOver brings the record up to what nevisFIDO accepted. Quarantine ends, but
// not by another name alone: that says nothing of the address. A target that
// was unknown is learned if the modification brings a key.
func (m *modification) takeOver(c *Change, ref Ref, t *Target) (*Target, []Event) {
	p, now := m.payload, c.d.now() // t is not nil: alone, which objection asks for, is true only where the fence was there
	if t.Created.IsZero() {
		if p.EncryptionKey == nil {
			return c.d.markStale(ref, t, c.members, c.source, whyUnknown)
		}
		t.Created = now
	}
	before, signedBy := t.Thumbprint, string(t.SignatureKey)
	t.set(p)
	var events []Event
	if p.EncryptionKey != nil {
		events = c.d.takeEncryptionKey(t, p.EncryptionKey, c.source)
	}
	if p.SignatureKey != nil {
		events = append(events, takeSignatureKey(t, p.SignatureKey, c.source)...)
	}
	t.Updated = now
	t.trust(append(c.members, memberExistence)...)
	if slices.ContainsFunc(c.members, func(member string) bool { return member != memberName }) {
		t.GoneAddress = ""
	}
	if before != t.Thumbprint || signedBy != string(t.SignatureKey) {
		t.unknown = nil // which may belong to the old key
	}
	if before != "" && before != t.Thumbprint {
		events = append(events, t.event(EventKeyChanged, c.source, ""))
	}
	return t, append(events, t.event(EventModified, c.source, ""))
}

// set takes over everything of a modification but the keys.
func (t *Target) set(m *nevisfido.Modification) {
	if m.Name != nil {
		t.Name = *m.Name
	}
	if m.Target != nil {
		t.Address = *m.Target
	}
	if m.Dispatcher != nil {
		t.Dispatcher = *m.Dispatcher
	}
	t.Modified = max(t.Modified, m.CreatedAt)
}

// OnlyDispatcher returns the dispatcher's name if the change is a modification
// of nothing else and can be believed without nevisFIDO, which answers 422 to a
// name that only the sidecar knows: the signature verifies, the target is
// named, the time is fresh and not before the last modification.
func (c *Change) OnlyDispatcher() (name string, ok bool) {
	m, ok := c.request.(*modification)
	if !ok || m.payload == nil || c.source != SourceModify || !m.verified || !m.payload.OnlyDispatcher() || m.payload.TargetID != c.refs[0].ID ||
		m.payload.CreatedAt == 0 || !c.d.fresh(m.payload.CreatedAt) || m.payload.CreatedAt < m.modified {
		return "", false
	}
	return *m.payload.Dispatcher, true
}

var errNotOnlyDispatcher = errors.New("the modification is not one of the dispatcher alone, or cannot be verified")

// ApplyDispatcher ends a modification that nevisFIDO refused only because it
// does not know the dispatcher's name: the record gets the name and is as it
// was otherwise. After an error the change still has to be finished with
// nevisFIDO's status.
func (c *Change) ApplyDispatcher(ctx context.Context) error {
	name, ok := c.OnlyDispatcher()
	if !ok || c.done {
		return errNotOnlyDispatcher
	}
	const doing = "recording the target's dispatcher"
	createdAt, applied := c.request.(*modification).payload.CreatedAt, false
	err := c.d.update(ctx, c.refs[0], doing, func(_ Ref, current *Target) (*Target, []Event) {
		_, alone := current.takeFence(c.id)
		if applied = alone && createdAt >= current.Modified; !applied {
			return current, nil // refused, as nevisFIDO did
		}
		current.Dispatcher, current.Updated, current.Modified = name, c.d.now(), createdAt
		return current, []Event{current.event(EventModified, SourceModify, "")}
	})
	switch {
	case err != nil:
		return err
	case !applied:
		return unavailable(doing, errors.New("another change came in between"))
	}
	c.done = true
	c.unlock()
	return nil
}

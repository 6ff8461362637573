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

// read finds out what a modification would change and who signed it.
func (c *Change) read(current *Target) {
	c.modification, c.members, c.verified, c.forged, c.modified = nil, allMembers(), false, false, 0
	if current != nil {
		c.modified = current.Modified
	}
	if key := current.signatureKey(); key != nil && c.jws != nil {
		_, err := key.Verify(string(c.jws))
		c.verified, c.forged = err == nil, err != nil
	}
	if m := payloadOf(string(c.jws)); m != nil {
		c.modification, c.members = m, membersOf(m)
	}
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

// objection tells why an accepted modification is not applied, and which
// members are unsure then.
func (c *Change) objection(ref Ref, current *Target, alone bool) (why string, members []string) {
	m := c.modification
	switch {
	case c.forged:
		return "signature", allMembers()
	case m.TargetID != "" && m.TargetID != ref.ID:
		return "target_id", allMembers()
	case m.UnclearKeys:
		return "unclear_keys", allMembers()
	case c.verified && !c.fresh(m.CreatedAt):
		return "not_fresh", c.members
	case m.CreatedAt != 0 && current != nil && m.CreatedAt < current.Modified:
		return "older", c.members
	case !alone:
		return "concurrent", c.members // with another change, in an order that is not known
	}
	return "", nil
}

// fresh tells whether a time that a device has signed, in milliseconds, is now.
// Zero stands for none.
func (c *Change) fresh(createdAt int64) bool {
	age := c.d.now().Sub(time.UnixMilli(createdAt))
	return createdAt == 0 || age.Abs() <= freshFor
}

// apply brings the record up to what nevisFIDO accepted. Quarantine ends, but
// not by another name alone: that says nothing of the address. A target that
// was unknown is learned if the modification brings a key.
func (c *Change) apply(ref Ref, t *Target) (*Target, []Event) {
	m, now := c.modification, c.d.now()
	if t.Created.IsZero() {
		if m.EncryptionKey == nil {
			return c.d.distrust(ref, t, c.members, c.source, "unknown")
		}
		t.Created = now
	}
	before, signedBy := t.Thumbprint, string(t.SignatureKey)
	t.set(m)
	var events []Event
	if m.EncryptionKey != nil {
		events = c.d.takeEncryptionKey(t, m.EncryptionKey, c.source)
	}
	if m.SignatureKey != nil {
		events = append(events, takeSignatureKey(t, m.SignatureKey, c.source)...)
	}
	t.Updated = now
	t.trust(append(c.members, memberExistence)...)
	if slices.ContainsFunc(c.members, func(member string) bool { return member != memberName }) {
		t.Expired = ""
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
	m := c.modification
	if m == nil || c.source != SourceModify || !c.verified || !m.OnlyDispatcher() || m.TargetID != c.refs[0].ID ||
		m.CreatedAt == 0 || !c.fresh(m.CreatedAt) || m.CreatedAt < c.modified {
		return "", false
	}
	return *m.Dispatcher, true
}

var errNotOnlyDispatcher = errors.New("the modification is not one of the dispatcher alone, or cannot be verified")

// ApplyDispatcher ends a modification that nevisFIDO refused only because it
// does not know the dispatcher's name: the record gets the name and is as it
// was otherwise. After an error the change still has to be finished with
// nevisFIDO's status.
func (c *Change) ApplyDispatcher(ctx context.Context) error {
	if _, ok := c.OnlyDispatcher(); !ok || c.done {
		return errNotOnlyDispatcher
	}
	const doing = "recording the target's dispatcher"
	err := c.d.update(ctx, c.refs[0], doing, c.applyDispatcher)
	switch {
	case err != nil:
		return err
	case !c.applied:
		return unavailable(doing, errors.New("another change came in between"))
	}
	c.done = true
	c.unlock()
	return nil
}

func (c *Change) applyDispatcher(_ Ref, current *Target) (*Target, []Event) {
	_, alone := current.unfence(c.id)
	c.applied = alone && c.modification.CreatedAt >= current.Modified
	if !c.applied {
		return current, nil // refused, as nevisFIDO did
	}
	current.Dispatcher, current.Updated = *c.modification.Dispatcher, c.d.now()
	current.Modified = c.modification.CreatedAt
	return current, []Event{current.event(EventModified, SourceModify, "")}
}

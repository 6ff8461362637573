package targets

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// freshFor is the clock skew that nevisFIDO allows by default.
const freshFor = 5 * time.Minute

// Change is a change of one or several targets that nevisFIDO is being asked
// for. It begins with BeginModify, BeginDelete or BeginDevice and ends with
// Finish, and keeps other changes of the same targets within the process
// waiting meanwhile. It is for one goroutine.
type Change struct {
	d       *Directory
	id      string // in fences
	source  string // of events
	refs    []Ref
	deletes bool

	// Of a modification.
	jws          []byte
	modification *nevisfido.Modification // nil where it is unreadable
	members      []string                // that change
	modified     int64                   // the record's at the beginning

	// Of a change of a device: the target whose key signs it, nil where none
	// is known, and why the others are not trusted after it.
	device string
	named  *Target
	why    string

	// Where the signature key is known, the change is either verified, or
	// forged: then nevisFIDO cannot accept it, unless our key is outdated.
	verified, forged bool

	fenced     map[Ref]bool
	unrecorded bool
	outcome    outcome
	applied    bool
	unlocks    []func()
	done       bool
}

// BeginModify prepares for the modification of a target: jws is the request's
// body, nil where it was too long to read. When it returns, the record is
// durably stale, so that no old key is used whatever happens next. On
// ErrUnavailable the request must not be forwarded, and the change is over,
// unless Unrecorded is called.
//
// There is no fence for a forged request: nevisFIDO cannot accept it, and
// anybody could disable a target by sending some. An unknown target gets one
// only where the request brings a key, or a key source might bring the target
// in its old form later.
func (d *Directory) BeginModify(ctx context.Context, id string, jws []byte) (*Change, error) {
	c := d.newChange(SourceModify, d.ref(id))
	c.jws = jws
	return c, c.begin(ctx)
}

// BeginDelete prepares for the deletion of a target as BeginModify does for a
// modification. A record that cannot be read is of no use, and can be deleted.
func (d *Directory) BeginDelete(ctx context.Context, id string) (*Change, error) {
	c := d.newChange(sourceDelete, d.ref(id))
	c.deletes, c.members = true, []string{memberExistence}
	return c, c.begin(ctx)
}

func (d *Directory) newChange(source string, refs ...Ref) *Change {
	return &Change{d: d, id: rand.Text(), source: source, refs: refs, members: allMembers(), fenced: make(map[Ref]bool)}
}

func (c *Change) begin(ctx context.Context) error {
	for _, ref := range c.refs { // in order, so that no two wait for each other
		unlock, err := c.d.Unsynced.lock(ctx, ref)
		if err != nil {
			c.unlock()
			return fmt.Errorf("%w: waiting for another change of the target: %w", ErrUnavailable, err)
		}
		c.unlocks = append(c.unlocks, unlock)
	}
	for _, ref := range c.refs {
		err := c.d.update(ctx, ref, "marking the target before it changes", c.fence)
		if err == nil || isCorrupt(err) && c.source != SourceModify {
			continue
		}
		c.takeBack(ctx)
		return err
	}
	return nil
}

// fence puts the change into the record's fence, if it may happen.
func (c *Change) fence(ref Ref, current *Target) (*Target, []Event) {
	if c.source == SourceModify {
		c.read(current)
	}
	c.fenced[ref] = !c.forged && c.concerns(current)
	if !c.fenced[ref] {
		return current, nil
	}
	if current == nil {
		current = c.d.placeholder(ref)
	}
	current.fence(c.id, c.members, c.d.now())
	return current, nil
}

// concerns tells whether there is something to remember of a target, nil for
// one that is not known.
func (c *Change) concerns(current *Target) bool {
	switch {
	case current != nil:
		return c.device == "" || current.onDevice(c.device, c.named)
	case c.source != SourceModify:
		return false
	}
	return len(c.d.Sources) > 0 || c.modification != nil && slices.Contains(c.members, memberEncryptionKey)
}

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

// takeBackTime bounds the attempt to take back what may not be there.
const takeBackTime = time.Second

// takeBack ends a change that nevisFIDO will not be asked for. A fence may have
// been written although the store reported an error. Where the time is up, or
// the store still fails, it stays, which is safe.
func (c *Change) takeBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, takeBackTime)
	defer cancel()
	c.outcome = refused
	_ = c.record(ctx)
	c.unlock()
}

func (c *Change) unlock() {
	for _, unlock := range c.unlocks {
		unlock()
	}
	c.unlocks = nil
}

// Unrecorded goes on with a change that could not begin: the request is
// forwarded although the store fails. The targets are stale within this
// process, unless nevisFIDO refuses the request.
func (c *Change) Unrecorded() {
	c.unrecorded = true
	for _, ref := range c.refs {
		c.d.Unsynced.ask(ref, c.source)
	}
}

// outcome is what nevisFIDO's answer says about a change.
type outcome int

const (
	unanswered outcome = iota // it may have happened or not
	accepted
	refused
)

func outcomeOf(status int) outcome {
	switch {
	case status >= 200 && status < 300:
		return accepted
	case status == Unsent, status >= 400 && status < 500:
		return refused
	}
	return unanswered
}

// Unsent stands for a status where nevisFIDO was never asked.
const Unsent = -1

// Finish records how the change ended: status is that of nevisFIDO's answer, 0
// where none came, or Unsent. Accepted changes are applied, refused ones leave
// the record as it was, and any other status leaves it stale until a later
// change brings the same members. On ErrUnavailable the record stays stale.
// Later calls do nothing, so Finish(ctx, 0) may be deferred.
func (c *Change) Finish(ctx context.Context, status int) error {
	if c.done {
		return nil
	}
	c.done = true
	defer c.unlock()
	c.outcome = outcomeOf(status)
	if c.unrecorded {
		for _, ref := range c.refs {
			c.d.Unsynced.answer(ref, c.outcome)
		}
		return nil
	}
	return c.record(ctx)
}

// record brings the records in line with the outcome.
func (c *Change) record(ctx context.Context) error {
	refs, err := c.affected(ctx)
	failed := []error{err}
	for _, ref := range refs {
		failed = append(failed, c.recordOne(ctx, ref))
	}
	return errors.Join(failed...)
}

func (c *Change) recordOne(ctx context.Context, ref Ref) error {
	const doing = "recording the change of the target"
	err := c.d.update(ctx, ref, doing, c.settle)
	if isCorrupt(err) && c.source != SourceModify {
		if c.outcome != accepted || c.device != "" && !c.fenced[ref] {
			return nil // and nobody uses it
		}
		// Another process may be able to read it.
		err = c.d.overwrite(ctx, ref, doing, c.source, c.settleCorrupt)
	}
	if err != nil && c.outcome == accepted && !c.fenced[ref] {
		c.d.Unsynced.change(ref, c.source)
	}
	return err
}

func (c *Change) settleCorrupt(ref Ref, current *Target) (*Target, []Event) {
	if current == nil && !c.deletes {
		return c.d.distrust(ref, nil, c.source, "")
	}
	return c.settle(ref, current)
}

// settle brings one record in line with the outcome.
func (c *Change) settle(ref Ref, current *Target) (*Target, []Event) {
	alone := current.unfence(c.id)
	switch {
	case c.outcome == refused, c.outcome == unanswered && c.forged:
		return current, nil
	case c.device != "" && !c.concerns(current):
		return current, nil
	case c.outcome == unanswered:
		return c.distrust(ref, current, c.members, "unanswered")
	case c.device != "" && (c.forged || !c.deletes):
		return c.distrust(ref, current, allMembers(), c.why)
	case c.deletes && current != nil:
		return nil, []Event{{Name: EventForgotten, Ref: ref, Source: c.source}}
	case c.deletes:
		return nil, nil
	case c.modification == nil:
		next, _ := c.d.distrust(ref, nil, c.source, "")
		return next, []Event{{Name: EventDropped, Ref: ref, Source: c.source, Reason: whyUnreadable}}
	}
	if why, members := c.objection(ref, current, alone); why != "" {
		return c.distrust(ref, current, members, why)
	}
	return c.apply(ref, current)
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

// distrust makes members unsure. Of an unknown target that is worth a record
// only where a key source might bring it.
func (c *Change) distrust(ref Ref, current *Target, members []string, why string) (*Target, []Event) {
	switch {
	case current == nil && c.source == SourceModify && len(c.d.Sources) > 0:
		current = c.d.placeholder(ref)
	case current == nil, current.Created.IsZero() && len(c.d.Sources) == 0:
		return current, nil
	}
	current.distrust(members)
	current.Updated = c.d.now()
	return current, []Event{current.event(EventStale, c.source, why)}
}

// apply brings the record up to what nevisFIDO accepted. Quarantine ends, but
// not by another name alone: that says nothing of the address. A target that
// was unknown is learned if the modification brings a key.
func (c *Change) apply(ref Ref, t *Target) (*Target, []Event) {
	m, now := c.modification, c.d.now()
	if t.Created.IsZero() {
		if m.EncryptionKey == nil {
			return c.distrust(ref, t, c.members, "unknown")
		}
		t.Created = now
	}
	before, signedBy := t.Thumbprint, string(t.SignatureKey)
	t.set(m)
	var events []Event
	if m.EncryptionKey != nil {
		if why := c.d.takeEncryptionKey(t, m.EncryptionKey); why != "" {
			events = append(events, t.event(EventKeyRefused, SourceModify, why))
		}
	}
	if m.SignatureKey != nil {
		if why := takeSignatureKey(t, m.SignatureKey); why != "" {
			events = append(events, t.event(EventSignatureKeyRefused, SourceModify, why))
		}
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
		events = append(events, t.event(EventKeyChanged, SourceModify, ""))
	}
	return t, append(events, t.event(EventModified, SourceModify, ""))
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
	if m == nil || !c.verified || !m.OnlyDispatcher() || m.TargetID != c.refs[0].ID ||
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
	alone := current.unfence(c.id)
	c.applied = alone && c.modification.CreatedAt >= current.Modified
	if !c.applied {
		return current, nil // refused, as nevisFIDO did
	}
	current.Dispatcher, current.Updated = *c.modification.Dispatcher, c.d.now()
	current.Modified = c.modification.CreatedAt
	return current, []Event{current.event(EventModified, SourceModify, "")}
}

package targets

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
)

// freshFor is the clock skew that nevisFIDO allows by default.
const freshFor = 5 * time.Minute

// Pending is a modification or deletion that nevisFIDO is being asked for. It
// ends with Finish. It is for one goroutine.
type Pending struct {
	d      *Directory
	ref    Ref
	id     string // of the mark
	delete bool
	jws    []byte

	modification *nevisfido.Modification // nil where it is unreadable
	members      []string                // that change
	modified     int64                   // the record's at the beginning
	marked       bool
	damaged      bool          // the record cannot be read, so that nobody uses it
	answered     func(outcome) // stands for a mark that could not be made

	// Where the signature key is known, the change is either verified, or
	// forged: then nevisFIDO cannot accept it, unless our key is outdated.
	verified, forged bool

	done bool
}

// BeginModify prepares for the modification of a target: jws is the request's
// body, nil where it was too long to read. When it returns, the record is
// durably stale, so that no old key is used whatever happens next. On
// ErrUnavailable the request must not be forwarded.
//
// No mark is made for a forged request: nevisFIDO cannot accept it, and anybody
// could disable a target by sending some. An unknown target is marked only
// where the request brings a key, or a key source might bring the target in its
// old form later.
func (d *Directory) BeginModify(ctx context.Context, id string, jws []byte) (*Pending, error) {
	return d.begin(ctx, &Pending{d: d, ref: d.ref(id), jws: jws})
}

// BeginDelete prepares for the deletion of a target as BeginModify does for a
// modification. A record that cannot be read is of no use anyhow, and can be
// deleted.
func (d *Directory) BeginDelete(ctx context.Context, id string) (*Pending, error) {
	p, err := d.begin(ctx, &Pending{d: d, ref: d.ref(id), delete: true})
	if isUnreadable(err) {
		return &Pending{d: d, ref: d.ref(id), delete: true, damaged: true}, nil
	}
	return p, err
}

// Unrecorded is BeginModify or BeginDelete for a request that is forwarded
// although the store fails: the target is in doubt within this process, unless
// nevisFIDO refuses the request.
func (d *Directory) Unrecorded(id string) *Pending {
	ref := d.ref(id)
	return &Pending{d: d, ref: ref, answered: d.Doubts.ask(subject{Ref: ref}, SourceModify, d.now())}
}

func (d *Directory) begin(ctx context.Context, p *Pending) (*Pending, error) {
	p.id = rand.Text()
	err := d.change(ctx, p.ref, "marking the target before it changes", func(current *Target) (*Target, []Event) {
		p.read(current)
		p.marked = false
		if p.forged || current == nil && !p.concernsUnknown() {
			return current, nil
		}
		if current == nil {
			current = d.placeholder(p.ref)
		}
		p.marked = true
		current.mark(Mark{ID: p.id, At: d.now(), Members: p.members})
		return current.settle(), nil
	})
	if err != nil && !isUnreadable(err) {
		p.takeBack(ctx)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// takeBackTime bounds the attempt to take back what may not be there.
const takeBackTime = time.Second

// takeBack removes a mark that may have been written although the store
// reported an error: nevisFIDO will not be asked, and nothing else would. Where
// the time is up, or the store still fails, it stays, which is safe.
func (p *Pending) takeBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, takeBackTime)
	defer cancel()
	_ = p.Finish(ctx, Unsent)
}

// concernsUnknown tells whether there is something to remember of a target
// that is not known.
func (p *Pending) concernsUnknown() bool {
	return !p.delete && (len(p.d.Sources) > 0 || slices.Contains(p.members, memberEncryptionKey) && p.modification != nil)
}

// read finds out what would change and who signed it.
func (p *Pending) read(current *Target) {
	p.modification, p.members, p.verified, p.forged, p.modified = nil, allMembers(), false, false, 0
	if p.delete {
		p.members = []string{memberExistence}
		return
	}
	if current != nil {
		p.modified = current.Modified
	}
	if key := current.signatureKey(); key != nil && p.jws != nil {
		_, err := key.Verify(string(p.jws))
		p.verified, p.forged = err == nil, err != nil
	}
	payload, err := encrypt.UnverifiedPayload(string(p.jws))
	if err != nil {
		return
	}
	m, err := nevisfido.ParseModification(payload)
	if err != nil {
		return
	}
	p.modification, p.members = m, membersOf(m)
}

// signatureKey returns the target's signature key if nevisFIDO certainly has
// the same.
func (t *Target) signatureKey() *encrypt.SignatureKey {
	if t == nil || t.SignatureKey == nil || t.doubted(memberSignatureKey) {
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

// Finish records how it ended: status is that of nevisFIDO's answer, 0 where
// none came, or Unsent. Accepted changes are applied, refused ones leave the
// record as it was, and any other status leaves it stale until a later change
// brings the same members. On ErrUnavailable the record stays stale. Later calls do
// nothing, so Finish(ctx, 0) may be deferred.
func (p *Pending) Finish(ctx context.Context, status int) error {
	if p.done {
		return nil
	}
	p.done = true
	o := outcomeOf(status)
	switch {
	case p.answered != nil:
		p.answered(o)
		return nil
	case p.damaged && o != accepted:
		return nil
	}
	const doing = "recording the change of the target"
	record := func(current *Target) (*Target, []Event) { return p.record(current, o) }
	if p.damaged {
		return p.d.heal(ctx, p.ref, doing, sourceDelete, record)
	}
	err := p.d.change(ctx, p.ref, doing, record)
	if err != nil && o == accepted && !p.marked {
		p.d.Doubts.addChange(subject{Ref: p.ref}, p.source(), p.d.now())
	}
	return err
}

// record brings the record in line with the outcome.
func (p *Pending) record(current *Target, o outcome) (*Target, []Event) {
	alone := current.unmark(p.id)
	switch {
	case o == refused, o == unanswered && p.forged:
		return current.settle(), nil
	case o == unanswered:
		return p.stale(current, p.members, "unanswered")
	case p.delete:
		return p.forget(current)
	case p.modification == nil:
		return p.d.nothing(p.ref), []Event{{Name: EventDropped, Ref: p.ref, Source: SourceModify, Reason: "unreadable"}}
	}
	if why, members := p.objection(current, alone); why != "" {
		return p.stale(current, members, why)
	}
	return p.apply(current)
}

// objection tells why an accepted modification is not applied, and which
// members are in doubt then.
func (p *Pending) objection(current *Target, alone bool) (why string, members []string) {
	m := p.modification
	switch {
	case p.forged:
		return "signature", allMembers()
	case m.TargetID != "" && m.TargetID != p.ref.ID:
		return "target_id", allMembers()
	case m.UnclearKeys:
		return "unclear_keys", allMembers()
	case p.verified && m.CreatedAt != 0 && !p.fresh():
		return "not_fresh", p.members
	case m.CreatedAt != 0 && current != nil && m.CreatedAt < current.Modified:
		return "older", p.members
	case !alone:
		return "concurrent", p.members // with another change, in an order that is not known
	}
	return "", nil
}

func (p *Pending) fresh() bool {
	age := p.d.now().Sub(time.UnixMilli(p.modification.CreatedAt))
	return age.Abs() <= freshFor
}

// stale puts members in doubt. Of an unknown target that is worth a record
// only where a key source might bring it.
func (p *Pending) stale(current *Target, members []string, why string) (*Target, []Event) {
	switch {
	case current == nil && !p.delete && len(p.d.Sources) > 0:
		current = p.d.placeholder(p.ref)
	case current == nil, current.Created.IsZero() && len(p.d.Sources) == 0:
		return current.settle(), nil
	}
	current.addDoubt(members)
	current.Updated = p.d.now()
	return current.settle(), []Event{current.event(EventStale, p.source(), why)}
}

func (p *Pending) forget(current *Target) (*Target, []Event) {
	if current == nil {
		return nil, nil
	}
	gone := Event{Name: EventForgotten, Ref: p.ref, Source: p.source()}
	return nil, []Event{gone}
}

func (p *Pending) source() string {
	if p.delete {
		return sourceDelete
	}
	return SourceModify
}

// apply brings the record up to what nevisFIDO accepted. Quarantine ends, but
// not by another name alone: that says nothing of the address. A target that
// was unknown is learned if the modification brings a key.
func (p *Pending) apply(t *Target) (*Target, []Event) {
	m, now := p.modification, p.d.now()
	if t.Created.IsZero() {
		if m.EncryptionKey == nil {
			return p.stale(t, p.members, "unknown")
		}
		t.Created = now
	}
	before, signedBy := t.Thumbprint, string(t.SignatureKey)
	t.set(m)
	var events []Event
	if m.EncryptionKey != nil {
		if why := p.d.takeEncryptionKey(t, m.EncryptionKey); why != "" {
			events = append(events, t.event(EventKeyRefused, SourceModify, why))
		}
	}
	if m.SignatureKey != nil {
		if why := takeSignatureKey(t, m.SignatureKey); why != "" {
			events = append(events, t.event(EventSignatureKeyRefused, SourceModify, why))
		}
	}
	t.Updated = now
	t.clearDoubt(append(p.members, memberExistence))
	if slices.ContainsFunc(p.members, func(member string) bool { return member != memberName }) {
		t.State, t.Settled = Active, ""
	}
	if before != t.Thumbprint || signedBy != string(t.SignatureKey) {
		t.unknown = nil // which may belong to the old key
	}
	if before != "" && before != t.Thumbprint {
		events = append(events, t.event(EventKeyChanged, SourceModify, ""))
	}
	return t.settle(), append(events, t.event(EventModified, SourceModify, ""))
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

// OnlyDispatcher returns the dispatcher's name if the modification changes
// nothing else and can be believed without nevisFIDO, which answers 422 to a
// name that only the sidecar knows: the signature verifies, the target is
// named, the time is fresh and not before the last modification.
func (p *Pending) OnlyDispatcher() (name string, ok bool) {
	m := p.modification
	if m == nil || !p.verified || !m.OnlyDispatcher() || m.TargetID != p.ref.ID || !p.fresh() || m.CreatedAt < p.modified {
		return "", false
	}
	return *m.Dispatcher, true
}

var errNotOnlyDispatcher = errors.New("the modification is not one of the dispatcher alone, or cannot be verified")

// ApplyDispatcher ends a modification that nevisFIDO refused only because it
// does not know the dispatcher's name: the record gets the name and is as it
// was otherwise. After an error the change still has to be finished with
// nevisFIDO's status.
func (p *Pending) ApplyDispatcher(ctx context.Context) error {
	name, ok := p.OnlyDispatcher()
	if !ok || p.done {
		return errNotOnlyDispatcher
	}
	applied := false
	err := p.d.change(ctx, p.ref, "recording the target's dispatcher", func(current *Target) (*Target, []Event) {
		applied = false
		if alone := current.unmark(p.id); !alone || p.modification.CreatedAt < current.Modified {
			return current.settle(), nil // refused, as nevisFIDO did
		}
		applied = true
		current.Dispatcher, current.Updated = name, p.d.now()
		current.Modified = p.modification.CreatedAt
		return current.settle(), []Event{current.event(EventModified, SourceModify, "")}
	})
	switch {
	case err != nil:
		return err
	case !applied:
		return unavailable("recording the target's dispatcher", errors.New("another change came in between"))
	}
	p.done = true
	return nil
}

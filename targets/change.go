package targets

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Change is a change of one or several targets that nevisFIDO is being asked
// for. It begins with BeginModify, BeginDelete or BeginDevice and ends with
// Finish, and keeps other changes of the same targets within the process
// waiting meanwhile. It is for one goroutine.
type Change struct {
	d       *Directory
	id      string // in fences
	source  string // of events
	request request
	refs    []Ref
	unlocks []func() // of refs

	// As the request was judged when the fence was last tried (see request.judge).
	// What it is applied to later is not judged again.
	members     []string
	disbelieved bool
	fenced      map[Ref]bool // has its fence

	unrecorded bool
	done       bool
	outcome    outcome

	// Of a change whose outcome is recorded later.
	retried   bool
	takenBack bool      // nevisFIDO was not asked
	until     time.Time // when to give up
}

// A request is what nevisFIDO is asked for. There is one type for each way in
// which a Change begins.
type request interface {
	// judge tells which members the request may alter of a record, nil for none, and
	// whether we do not believe it: nevisFIDO cannot accept it then, unless our
	// signature key is outdated. It may be called again with another record.
	judge(current *Target) (members []string, disbelieved bool)

	// concerns tells whether there is something to remember of a target, nil for
	// one that is not known.
	concerns(current *Target) bool

	// applyTo is what becomes of a record when nevisFIDO has accepted the
	// request. It is alone unless other changes overlapped with it.
	applyTo(c *Change, ref Ref, current *Target, alone bool) (*Target, []Event)

	// also returns what an accepted request is about, as far as the store knows
	// now. The targets that are known from the beginning need not be among them.
	also(ctx context.Context, d *Directory) ([]Ref, error)
}

// BeginModify prepares for the modification of a target: jws is the request's
// body, nil where it was too long to read. When it returns, the record is
// durably stale, so that no old key is used whatever happens next. On
// ErrUnavailable the request must not be forwarded, and the change is over,
// unless Unrecorded is called.
//
// There is no fence for a forged request: nevisFIDO cannot accept it, and
// anybody could disable a target by sending some. An unknown target gets one,
// too: another process may be learning it from a change that overlaps.
func (d *Directory) BeginModify(ctx context.Context, id string, jws []byte) (*Change, error) {
	c := d.newChange(SourceModify, &modification{jws: jws, payload: payloadOf(string(jws))}, d.ref(id))
	return c, c.begin(ctx)
}

// BeginDelete prepares for the deletion of a target as BeginModify does for a
// modification. A record that cannot be read is of no use, and can be deleted.
func (d *Directory) BeginDelete(ctx context.Context, id string) (*Change, error) {
	c := d.newChange(sourceDelete, deletion{}, d.ref(id))
	return c, c.begin(ctx)
}

func (d *Directory) newChange(source string, asked request, refs ...Ref) *Change {
	c := &Change{d: d, id: rand.Text(), source: source, request: asked, refs: refs, fenced: make(map[Ref]bool)}
	c.members, c.disbelieved = asked.judge(nil) // for one that never comes to its fence
	return c
}

func (c *Change) begin(ctx context.Context) error {
	for _, ref := range c.refs { // in order, so that no two wait for each other
		unlock, err := c.d.Unsynced.changing.Lock(ctx, ref.Hash())
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
	c.members, c.disbelieved = c.request.judge(current)
	c.fenced[ref] = !c.disbelieved && c.request.concerns(current)
	if !c.fenced[ref] {
		return current, nil
	}
	if current == nil {
		current = c.d.blankRecord(ref)
	}
	current.putFence(c.id, c.members, c.d.now())
	return current, nil
}

// takeBackTime bounds the attempt to take back what may not be there. For
// unsentTime the process goes on looking for it: a network may hold back a write
// for as long. Stores that refuse late writes need none of it.
const (
	takeBackTime = time.Second
	unsentTime   = 5 * time.Minute
)

// takeBack ends a change that nevisFIDO will not be asked for. Its fence may
// have been written although the store reported an error, or be written later.
func (c *Change) takeBack(ctx context.Context) {
	defer c.unlock()
	ctx, cancel := context.WithTimeout(ctx, takeBackTime)
	defer cancel()
	back := *c // which may go on, Unrecorded
	back.outcome, back.takenBack, back.until = refused, true, c.d.now().Add(unsentTime)
	_ = back.record(ctx)
	c.d.Unsynced.keepOutcome(&back)
}

func (c *Change) unlock() {
	for _, unlock := range c.unlocks {
		unlock()
	}
	c.unlocks = nil
}

// Unrecorded goes on with a change that could not begin: the request is
// forwarded although the store fails. The targets are stale within this process
// from nevisFIDO's answer on, unless that is a refusal: it is for where nothing is
// sent meanwhile.
func (c *Change) Unrecorded() { c.unrecorded = true }

// Finish records how the change ended: status is that of nevisFIDO's answer, 0
// where none came, or Unsent. Accepted changes are applied, refused ones leave
// the record as it was, and any other status leaves it stale until a later
// change brings the same members. On ErrUnavailable the record stays stale until
// the store takes the outcome; that is tried again for a minute.
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
			if c.outcome != refused {
				c.d.Unsynced.keepChange(ref, c.source)
			}
		}
		return nil
	}
	err := c.record(ctx)
	if err != nil {
		c.until = c.d.now().Add(fenceTime)
		c.d.Unsynced.keepOutcome(c)
	}
	return err
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

// record brings the records in line with the outcome.
func (c *Change) record(ctx context.Context) error {
	if c.outcome != accepted {
		return c.recordAll(ctx, c.refs)
	}
	more, err := c.request.also(ctx, c.d)
	return errors.Join(err, c.recordAll(ctx, sorted(append(more, c.refs...))))
}

func (c *Change) recordAll(ctx context.Context, refs []Ref) (err error) {
	for _, ref := range refs {
		err = errors.Join(err, c.recordOne(ctx, ref))
	}
	return err
}

func (c *Change) recordOne(ctx context.Context, ref Ref) error {
	const doing = "recording the change of the target"
	err := c.d.update(ctx, ref, doing, c.settle)
	if isCorrupt(err) && c.source != SourceModify {
		if c.outcome != accepted || c.source == sourceDevice && !c.fenced[ref] {
			return nil // nobody uses it
		}
		// Another process may be able to read it.
		err = c.d.overwrite(ctx, ref, doing, c.source, c.settleDamaged)
	}
	if err != nil && c.outcome == accepted && !c.fenced[ref] {
		c.d.Unsynced.keepChange(ref, c.source)
	}
	return err
}

// settle brings one record in line with the outcome. When that is tried again and
// the fence is gone, somebody has seen to it.
func (c *Change) settle(ref Ref, current *Target) (*Target, []Event) {
	there, alone := current.takeFence(c.id)
	switch {
	case c.retried && !there, c.outcome == refused, c.outcome == unanswered && c.disbelieved, !c.request.concerns(current):
		return current, nil
	case c.outcome == unanswered:
		return c.d.markStale(ref, current, c.members, c.source, whyUnanswered)
	}
	return c.request.applyTo(c, ref, current, alone)
}

func (c *Change) settleDamaged(ref Ref, current *Target) (*Target, []Event) {
	if deletes := slices.Contains(c.members, memberExistence); current == nil && !deletes {
		return c.d.markStale(ref, nil, allMembers(), c.source, whyDamaged)
	}
	return c.settle(ref, current)
}

// deletion is the request to delete a target.
type deletion struct{}

func (deletion) judge(*Target) (members []string, disbelieved bool) {
	return []string{memberExistence}, false
}

func (deletion) concerns(current *Target) bool { return current != nil }

func (deletion) applyTo(c *Change, ref Ref, current *Target, _ bool) (*Target, []Event) {
	return nil, []Event{{Name: EventForgotten, Ref: ref, User: current.user(), Source: c.source}}
}

func (deletion) also(context.Context, *Directory) ([]Ref, error) { return nil, nil }

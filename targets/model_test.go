package targets_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

// upstream is what nevisFIDO holds of the one target of a history.
type upstream struct {
	name, address, dispatcher string
	encryption, signature     int // numbers of keys
}

// change is a request under way, with what it does to upstream.
type change struct {
	*targets.Change
	f        *fixture
	locks    bool // keeps others of its process waiting
	apply    func(upstream) *upstream
	signedBy int  // number of the signature key, -1 for a deletion
	device   bool // a change of the device
	happened bool // upstream has decided
	status   int
}

// history drives sidecars on one store, in which requests overlap, answers get
// lost, the store fails and processes die, against a model of nevisFIDO.
type history struct {
	t        *rapid.T
	f        []*fixture
	upstream *upstream
	changes  []*change
	created  int
	now      time.Time
	alone    *fixture // knows of a target that the store was not told
	broken   bool     // the store's writes fail
	lenient  bool     // requests are forwarded all the same

	load func() (*targets.Target, error)
}

func newHistory(t *rapid.T) *history {
	h := &history{t: t, now: noon, f: []*fixture{newFixture(), newFixture(), newFixture()}}
	store := h.f[0].store
	store.SetFault(func(_ context.Context, op kvtest.Op) error {
		if h.broken && (op == kvtest.Write || op == kvtest.Written) {
			// Half of the failing writes happen all the same.
			if rapid.Bool().Draw(h.t, "fails at "+string(op)) || op == kvtest.Written {
				return errors.New("broken")
			}
		}
		return nil
	})
	for _, f := range h.f {
		f.Store, f.store = store, store
		f.Now = func() time.Time { return h.now }
	}
	h.load = func() (*targets.Target, error) {
		return store.Load(t.Context(), targets.Ref{Namespace: "bank", ID: h.id()})
	}
	return h
}

// sidecar draws the one that gets a request. While one alone knows something,
// the others are not asked: they cannot know of the target.
func (h *history) sidecar() *fixture {
	if h.alone != nil && h.alone.Unsynced.Len() > 0 {
		return h.alone
	}
	h.alone = nil
	return rapid.SampledFrom(h.f).Draw(h.t, "sidecar")
}

// send lets a sidecar begin a change and forward it. A request that has to wait
// for another one of its process waits in vain.
func (h *history) send(c *change, begin func(context.Context, *fixture) (*targets.Change, error)) {
	c.f = h.sidecar()
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	if slices.ContainsFunc(h.changes, func(other *change) bool { return other.locks && other.f == c.f }) {
		cancel()
	}
	var err error
	if c.Change, err = begin(ctx, c.f); err != nil && !h.lenient {
		return // 503: nevisFIDO never sees it
	}
	if c.locks = err == nil; !c.locks {
		c.Unrecorded()
	}
	h.changes = append(h.changes, c)
	if h.isForged(c) {
		// Before another sidecar's request can make it good by changing the
		// signature key: that would take a device that signs ahead of time.
		h.decide(c)
	}
}

// create makes a target with an id of its own: nevisFIDO never uses one twice.
func (h *history) create() {
	h.created++
	h.changes = nil
	h.recreate()
}

// recreate makes the target, or one with the same id anew, between others.
func (h *history) recreate() {
	if slices.ContainsFunc(h.changes, func(c *change) bool { return !c.happened }) {
		return
	}
	u := upstream{
		name: "n0", address: "a0", dispatcher: "d0",
		encryption: rapid.IntRange(0, 4).Draw(h.t, "encryption key"),
		signature:  rapid.IntRange(-1, 2).Draw(h.t, "signature key"),
	}
	h.upstream = &u
	desc := &nevisfido.TargetDescription{
		Username: "jeff", DeviceID: h.deviceID(), Name: u.name, Target: u.address, Dispatcher: u.dispatcher, EncryptionKey: publicJWK(u.encryption),
	}
	if u.signature >= 0 {
		desc.SignatureKey = signingKeys[u.signature].JWK()
	}
	f := h.sidecar()
	if f.Learn(h.t.Context(), desc, nevisfido.CreatedTarget{ID: h.id()}, targets.SourceCreate) != nil {
		h.alone = f
	}
}

func (h *history) id() string { return fmt.Sprint("target-", h.created) }

func (h *history) deviceID() string { return fmt.Sprint("device-", h.created) }

// begin sends a modification that a device, or somebody else, has signed.
func (h *history) begin() {
	members := map[string]any{"dispatchTargetId": h.id(), "creationTimeInEpochMillis": h.now.UnixMilli()}
	var set []func(*upstream)
	for name, to := range map[string]func(*upstream) *string{
		"name":       func(u *upstream) *string { return &u.name },
		"target":     func(u *upstream) *string { return &u.address },
		"dispatcher": func(u *upstream) *string { return &u.dispatcher },
	} {
		if value := rapid.SampledFrom([]string{"", "", "x", "y"}).Draw(h.t, name); value != "" {
			members[name] = value
			set = append(set, func(u *upstream) { *to(u) = value })
		}
	}
	if key := rapid.IntRange(-3, 4).Draw(h.t, "encryption key"); key >= 0 {
		members["encryptionKey"] = json.RawMessage(publicJWK(key))
		set = append(set, func(u *upstream) { u.encryption = key })
	}
	if key := rapid.IntRange(-6, 2).Draw(h.t, "signature key"); key >= 0 {
		members["signatureKey"] = json.RawMessage(signingKeys[key].JWK())
		set = append(set, func(u *upstream) { u.signature = key })
	}
	signer := rapid.IntRange(0, 2).Draw(h.t, "signed by")
	if h.upstream != nil && h.upstream.signature >= 0 && rapid.IntRange(0, 3).Draw(h.t, "forged") > 0 {
		signer = h.upstream.signature
	}
	jws := []byte(must(signingKeys[signer].Sign(must(json.Marshal(members)))))
	apply := func(u upstream) *upstream {
		for _, f := range set {
			f(&u)
		}
		return &u
	}
	h.send(&change{signedBy: signer, apply: apply}, func(ctx context.Context, f *fixture) (*targets.Change, error) {
		return f.BeginModify(ctx, h.id(), jws)
	})
}

// isForged tells whether nevisFIDO cannot accept a request. It does not accept a
// change of the device by a key that the sidecar lacks.
func (h *history) isForged(c *change) bool {
	if h.upstream == nil || c.signedBy < 0 {
		return false
	}
	if c.device {
		record, err := h.f[0].store.Load(context.Background(), targets.Ref{Namespace: "bank", ID: h.id()})
		return c.signedBy != h.upstream.signature || err != nil || record.SignatureKey == nil
	}
	return h.upstream.signature >= 0 && c.signedBy != h.upstream.signature
}

func (h *history) beginDelete() {
	gone := func(upstream) *upstream { return nil }
	h.send(&change{signedBy: -1, apply: gone}, func(ctx context.Context, f *fixture) (*targets.Change, error) {
		return f.BeginDelete(ctx, h.id())
	})
}

// changeDevice sends a change of the device that gives the target another key,
// or deletes it. It may be signed by anybody.
func (h *history) changeDevice() {
	deletes := rapid.Bool().Draw(h.t, "deletes the device")
	key := rapid.IntRange(0, 4).Draw(h.t, "encryption key")
	signer := rapid.IntRange(0, 2).Draw(h.t, "signed by")
	if h.upstream != nil && h.upstream.signature >= 0 && rapid.IntRange(0, 3).Draw(h.t, "forged") > 0 {
		signer = h.upstream.signature
	}
	members := map[string]any{"dispatchTargetId": h.id(), "creationTimeInEpochMillis": h.now.UnixMilli()}
	call := targets.DeviceCall{Device: h.deviceID(), Deletes: deletes, Body: rapid.Bool().Draw(h.t, "with a body")}
	if !deletes && !call.Body {
		members["encryptionKey"] = json.RawMessage(publicJWK(key))
	}
	call.Signature = must(signingKeys[signer].Sign(must(json.Marshal(members))))
	apply := func(u upstream) *upstream {
		if deletes {
			return nil
		}
		u.encryption = key
		return &u
	}
	h.send(&change{signedBy: signer, device: true, apply: apply}, func(ctx context.Context, f *fixture) (*targets.Change, error) {
		return f.BeginDevice(ctx, call)
	})
}

// decideOne lets nevisFIDO answer one of the requests.
func (h *history) decideOne() {
	if c := h.draw(); c != nil && !c.happened {
		h.decide(c)
	}
}

func (h *history) decide(c *change) {
	c.happened = true
	if h.upstream == nil {
		c.status = 404
		return
	}
	if h.isForged(c) {
		c.status = rapid.SampledFrom([]int{401, 500}).Draw(h.t, "status of a forgery")
		return
	}
	c.status = rapid.SampledFrom([]int{204, 204, 204, 204, 204, 204, 422, 500, 0}).Draw(h.t, "status")
	applied := c.status == 204
	if c.status == 500 || c.status == 0 {
		applied = rapid.Bool().Draw(h.t, "applied all the same")
	}
	if applied {
		h.upstream = c.apply(*h.upstream)
	}
}

// finish brings an answer to the sidecar.
func (h *history) finish() {
	if c := h.draw(); c != nil && c.happened {
		_ = c.Finish(h.t.Context(), c.status)
		h.drop(c)
	}
}

// die loses a process with its requests; nevisFIDO has answered them or not.
// Another process takes its place.
func (h *history) die() {
	dead := rapid.SampledFrom(h.f).Draw(h.t, "dead sidecar")
	if dead == h.alone {
		return // what it alone knows would be lost, as doc.go says
	}
	h.changes = slices.DeleteFunc(h.changes, func(c *change) bool { return c.f == dead })
	h.f[slices.Index(h.f, dead)] = dead.another()
}

// sync writes what is waiting into the store.
func (h *history) sync() { h.sidecar().Flush(h.t.Context()) }

func (h *history) draw() *change {
	if len(h.changes) == 0 {
		return nil
	}
	return h.changes[rapid.IntRange(0, len(h.changes)-1).Draw(h.t, "request")]
}

func (h *history) drop(c *change) {
	h.changes = slices.DeleteFunc(h.changes, func(other *change) bool { return other == c })
}

func (h *history) expire() {
	f := h.sidecar()
	if record, err := f.Find(h.t.Context(), h.id()); err == nil {
		_ = f.Expire(h.t.Context(), record)
	}
}

// pass lets time go by. Nothing is under way for longer than marks live.
func (h *history) pass() {
	h.now = h.now.Add(time.Second)
	if len(h.changes) == 0 {
		h.now = h.now.Add(rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(h.t, "pause"))
	}
}

// check holds after every step, as if the processes had been killed just then:
// a record that may be used agrees with nevisFIDO in every member.
func (h *history) check() (usable bool) {
	record, err := h.load()
	if errors.Is(err, targets.ErrNotFound) {
		return false
	}
	if err != nil {
		h.t.Fatal(err)
	}
	if record.State() == targets.Stale {
		return false
	}
	u := h.upstream
	// A target that was learned from a modification lacks what that did not bring.
	learned := record.Source == targets.SourceModify
	if u == nil {
		// A deletion that overlaps with the modification that the target was
		// learned from does no harm: nevisFIDO dispatches to it no more.
		if !learned {
			h.t.Fatalf("nevisFIDO has no target, and the record is %+v", record)
		}
		return false
	}
	signature := ""
	if u.signature >= 0 {
		signature = string(signingKeys[u.signature].JWK())
	}
	for _, member := range []struct{ name, got, want string }{
		{"name", record.Name, u.name},
		{"address", record.Address, u.address},
		{"dispatcher", record.Dispatcher, u.dispatcher},
		{"signature key", string(record.SignatureKey), signature},
	} {
		if member.got != member.want && (!learned || member.got != "") {
			h.t.Fatalf("%s is %q, nevisFIDO has %q", member.name, member.got, member.want)
		}
	}
	if record.Thumbprint != thumbprint(u.encryption) {
		h.t.Fatalf("the record has not the key %d that nevisFIDO has: %+v", u.encryption, record)
	}
	return record.State() == targets.Active
}

// walked counts the steps of histories, and those that left a usable record.
type walked struct{ active, total int }

// walk takes up to 40 random steps.
func (w *walked) walk(h *history, steps []func()) {
	for range rapid.IntRange(1, 40).Draw(h.t, "steps") {
		h.now = h.now.Add(time.Millisecond)
		rapid.SampledFrom(steps).Draw(h.t, "step")()
		w.total++
		if h.check() {
			w.active++
		}
	}
}

func (w *walked) mustSaySomething(t *testing.T) {
	t.Helper()
	if w.active < w.total/10 {
		t.Errorf("only %d of %d steps left a usable record: the histories say little", w.active, w.total)
	}
}

// Whatever happens, and wherever it ends, a record is right, or stale, or gone.
func TestRecordIsRightOrStale(t *testing.T) {
	var all walked
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		h.create()
		steps := []func(){
			h.begin, h.begin, h.begin, h.decideOne, h.decideOne, h.decideOne, h.decideOne,
			h.finish, h.finish, h.finish, h.finish, h.finish, h.pass, h.create, h.sync,
			func() {
				rapid.SampledFrom([]func(){h.beginDelete, h.changeDevice, h.die, h.expire}).Draw(t, "rare step")()
			},
			func() { h.broken = rapid.IntRange(0, 4).Draw(t, "broken") == 0 },
		}
		h.check()
		all.walk(h, steps)
	})
	all.mustSaySomething(t)
}

// One sidecar, one change at a time, every answer recorded: the record always
// agrees with nevisFIDO, and is usable whenever every answer was clear.
func TestOrderlyHistoryKeepsTargetUsable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		h.f = h.f[:1]
		h.create()
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			h.begin()
			if !h.changes[0].happened {
				h.decide(h.changes[0])
			}
			clear := h.changes[0].status == 204 || h.changes[0].status >= 400 && h.changes[0].status < 500
			h.finish()
			h.now = h.now.Add(time.Second)
			if usable := h.check(); !clear {
				return
			} else if !usable {
				t.Fatal("after clear answers the record is not usable")
			}
		}
	})
}

// One sidecar that lets changes through while the store fails: a record that it
// finds usable once they are answered agrees with nevisFIDO.
func TestUnrecordedHistories(t *testing.T) {
	var all walked
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		h.f = h.f[:1]
		h.lenient, h.load = true, func() (*targets.Target, error) {
			if slices.ContainsFunc(h.changes, func(c *change) bool { return !c.locks && c.happened }) {
				return nil, targets.ErrNotFound // nobody knows before the answer
			}
			return h.f[0].Find(t.Context(), h.id())
		}
		h.create()
		steps := []func(){
			h.begin, h.begin, h.decideOne, h.decideOne, h.decideOne, h.finish, h.finish, h.finish, h.pass, h.recreate, h.sync,
			func() { rapid.SampledFrom([]func(){h.beginDelete, h.changeDevice, h.create}).Draw(t, "rare step")() },
			func() { h.broken = rapid.IntRange(0, 2).Draw(t, "broken") == 0 },
		}
		all.walk(h, steps)
	})
	all.mustSaySomething(t)
}

package model

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

// runsEach is how many random runs of each configuration are replayed.
const runsEach = 30

// replayed are the configurations of which runs are replayed: all but the
// failovers, which happen below the code.
var replayed = []string{
	"-DKINDS=15 -DFAULTS=2 -DDISPATCHES=1",
	"-DKINDS=15 -DFAULTS=1 -DCRASHES=1",
	"-DKINDS=1 -DFAULTS=3 -DCRASHES=2",
	"-DKINDS=1 -DCRASHES=1 -DAPART",
	"-DUNKNOWN -DKINDS=1 -DFAULTS=2",
	"-DWAITING -DFAULTS=2 -DDISPATCHES=1",
	"-DSOURCE -DKINDS=1 -DDISPATCHES=1",
	"-DSOURCE -DUNKNOWN -DKINDS=1 -DFAULTS=1 -DDISPATCHES=1",
}

// Whatever the model does, the code does: after each step the record in the store
// is the one of the model.
func TestCodeFollowsTheModel(t *testing.T) {
	spin := testservice.Need(t, "spin")
	steps, cut := make(map[string]int), 0
	for _, config := range replayed {
		for seed := 1; seed <= runsEach; seed++ {
			args := append(strings.Fields(config), "-T", fmt.Sprintf("-n%d", seed), file)
			var events []event
			for line := range strings.Lines(run(t, ".", spin, args...)) {
				if e, ok := parseEvent(line); ok {
					events = append(events, e)
				}
			}
			if len(events) == 0 || events[len(events)-1].name != "end" && !slices.ContainsFunc(events, func(e event) bool { return e.name == "end" }) {
				t.Fatalf("%s, seed %d: the run of the model did not end: %v", config, seed, events)
			}
			synctest.Test(t, func(t *testing.T) {
				r := newReplay(t, strings.Contains(config, "-DSOURCE"), strings.Contains(config, "-DUNKNOWN"), strings.Contains(config, "-DWAITING"))
				defer r.close()
				for i, e := range events {
					if r.waits(e) {
						cut++
						return
					}
					r.step(e)
					steps[e.name]++
					if t.Failed() {
						t.Fatalf("%s, seed %d: step %d of %v", config, seed, i, events[:i+1])
					}
				}
			})
		}
	}
	t.Logf("%d runs, %d of them not to the end: %v", runsEach*len(replayed), cut, steps)
	for _, name := range []string{"look", "begin", "back", "unsent", "finish", "flush", "sync", "land", "pass", "die", "ask", "keep"} {
		if steps[name] < 5 {
			t.Errorf("of step %s only %d were replayed", name, steps[name])
		}
	}
}

// event is a step of the model, and the record after it.
type event struct {
	name          string
	i, mode, more int
	record        record
}

// record is one as the model sees it. The members of a set are bits.
type record struct{ there, known, a, k, s, fence, members, shared, unsure int }

var eventLine = regexp.MustCompile(`^([a-z]+)((?: \d+){3}) \|((?: \d+){9})\s*$`)

func parseEvent(line string) (e event, ok bool) {
	m := eventLine.FindStringSubmatch(line)
	if m == nil {
		return e, false
	}
	e.name = m[1]
	r := &e.record
	_, err := fmt.Sscan(m[2]+m[3], &e.i, &e.mode, &e.more, &r.there, &r.known, &r.a, &r.k, &r.s, &r.fence, &r.members, &r.shared, &r.unsure)
	return e, err == nil
}

// How a call of the store ends, as in the model.
const (
	works = iota
	fails
	written
	late
)

// The kinds of requests.
const (
	modify       = 1
	deletion     = 2
	device       = 4
	deviceDelete = 8
)

// nobody signs with a key that is not the target's.
const nobody = 7

var (
	encryptionKeys, signingKeys = keys()
	target                      = targets.Ref{Namespace: "bank", ID: "one"}
	noon                        = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

const (
	deviceID = "device-1"
	username = "jeff"
)

// keys makes those of values 1 to 3, and in place 0 that of nobody.
func keys() (encryption []*devicekey.PrivateKey, signing []*devicekey.SigningKey) {
	for range 4 {
		encryption = append(encryption, must(devicekey.GenerateKey("P-256")))
		signing = append(signing, must(devicekey.GenerateSigningKey("Ed25519")))
	}
	return encryption, signing
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func address(value int) string { return fmt.Sprint("address-", value) }

// replay drives two sidecars on one store through a run of the model.
type replay struct {
	t        *testing.T
	shared   *kvtest.Backend
	store    *kv.Store // of shared, without faults
	late     func()    // a write that may still come
	now      time.Time
	sidecars [2]*sidecar
	changes  [3]*change // from 1 on
	source   bool
	waiting  bool
}

type sidecar struct {
	*targets.Directory
	*gate
	retries []int           // changes that the process keeps, in its order
	early   bool            // its clock: what it keeps does not expire
	search  *call           // of a message
	answer  *targets.Target // of its key source
}

type change struct {
	kind, members int
	side          *sidecar
	signer        int
	started       bool
	begun         *targets.Change
	begin         *call // of the code
	status        int
}

// gate is the way of a sidecar to the store.
type gate struct {
	*kvtest.Backend
	name string
	r    *replay
	dead chan struct{}
}

// call is one of the code, in a goroutine of its own. It waits before every read of
// a record until it is told how this call of the store ends.
type call struct {
	*gate
	arrived chan struct{}
	mode    chan int
	next    int // mode of the call of the store under way
	ended   chan struct{}
	err     error
}

type callKey struct{}

func (s *sidecar) call(f func(context.Context) error) *call {
	c := &call{gate: s.gate, arrived: make(chan struct{}), mode: make(chan int), ended: make(chan struct{})}
	ctx := context.WithValue(s.r.t.Context(), callKey{}, c)
	go func() {
		defer close(c.ended)
		c.err = f(ctx)
	}()
	return c
}

// atStore waits until the call is at the store, or has ended.
func (c *call) atStore() bool {
	select {
	case <-c.arrived:
		return true
	case <-c.ended:
		return false
	}
}

func (c *call) over() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

var errStore = errors.New("the store fails")

// Location implements kv.Backend. Processes do not share the locks of their calls.
func (g *gate) Location() string { return g.name }

// Get implements kv.Backend.
func (g *gate) Get(ctx context.Context, key kv.Key) (*kv.Value, error) {
	if key.Kind != kv.Records {
		return g.Backend.Get(ctx, key)
	}
	c := ctx.Value(callKey{}).(*call)
	select {
	case c.arrived <- struct{}{}:
	case <-g.dead:
		return nil, errStore
	}
	select {
	case c.next = <-c.mode:
	case <-g.dead:
		return nil, errStore
	}
	if c.next == fails {
		return nil, errStore
	}
	return g.Backend.Get(ctx, key)
}

// Swap implements kv.Backend.
func (g *gate) Swap(ctx context.Context, key kv.Key, old *kv.Value, data []byte) (bool, error) {
	if key.Kind != kv.Records {
		return g.Backend.Swap(ctx, key, old, data)
	}
	switch ctx.Value(callKey{}).(*call).next {
	case late:
		g.r.late = func() {
			if done, err := g.Backend.Swap(context.Background(), key, old, data); !done || err != nil {
				g.r.t.Errorf("a late write did not come: %v", err)
			}
		}
		return false, errStore
	case written:
		if done, err := g.Backend.Swap(ctx, key, old, data); !done {
			return done, err
		}
		return true, errStore
	}
	return g.Backend.Swap(ctx, key, old, data)
}

func newReplay(t *testing.T, source, unknown, waiting bool) *replay {
	r := &replay{t: t, shared: new(kvtest.Backend), now: noon, source: source, waiting: waiting}
	r.store = kv.New(r.shared, nil, time.Hour)
	for i := range r.sidecars {
		r.sidecars[i] = r.newSidecar()
	}
	if !unknown && !waiting {
		r.learn(works)
	}
	return r
}

func (r *replay) newSidecar() *sidecar {
	g := &gate{Backend: r.shared, name: "sidecar " + rand.Text(), r: r, dead: make(chan struct{})}
	s := &sidecar{gate: g}
	s.Directory = &targets.Directory{
		Store: kv.New(g, nil, time.Hour), Namespace: target.Namespace, Unsynced: new(targets.Unsynced),
		Now: func() time.Time {
			if s.early {
				return noon
			}
			return r.now
		},
	}
	if r.source {
		s.Sources = []targets.NamedSource{{Name: "live", KeySource: &source{make(chan struct{}), make(chan *targets.Target), g}}}
	}
	return s
}

// close ends what the run has left under way.
func (r *replay) close() {
	for _, s := range r.sidecars {
		s.die()
	}
	synctest.Wait()
}

func (s *sidecar) die() { close(s.dead) }

// source is a live key source that is told what to answer.
type source struct {
	asked  chan struct{}
	answer chan *targets.Target
	*gate
}

// Live implements targets.LiveSource.
func (*source) Live() bool { return true }

// Find implements targets.KeySource.
func (s *source) Find(context.Context, targets.Ref) (*targets.Target, error) {
	select {
	case s.asked <- struct{}{}:
	case <-s.dead:
		return nil, errStore
	}
	select {
	case t := <-s.answer:
		if t != nil {
			return t, nil
		}
		return nil, targets.ErrNotFound
	case <-s.dead:
		return nil, errStore
	}
}

// learn creates the target through sidecar 0.
func (r *replay) learn(mode int) {
	s := r.sidecars[0]
	c := s.call(func(ctx context.Context) error {
		return s.Learn(ctx, &nevisfido.TargetDescription{
			Username: username, DeviceID: deviceID, Target: address(1), Dispatcher: "fcm",
			EncryptionKey: encryptionKeys[1].Public().JWK(), SignatureKey: signingKeys[1].JWK(),
		}, nevisfido.CreatedTarget{ID: target.ID}, targets.SourceCreate)
	})
	r.once(c, mode)
}

// once lets a call ask the store once, and waits for its end.
func (r *replay) once(c *call, mode int) {
	if c.atStore() {
		c.mode <- mode
		if c.atStore() {
			r.t.Error("the store is asked once more")
		}
	}
}

// waits tells whether a step has to wait in the code for a call that is at the store:
// a process writes a record for one at a time. In the model the process has not come
// so far.
func (r *replay) waits(e event) bool {
	var s *sidecar
	switch e.name {
	case "flush":
		s = r.changes[e.i].side
	case "sync", "keep", "drop":
		s = r.sidecars[e.i]
	}
	return slices.ContainsFunc(r.changes[:], func(c *change) bool {
		return c != nil && c.side == s && c.begin != nil && !c.begin.over()
	})
}

// step makes a step of the model.
func (r *replay) step(e event) {
	r.now = r.now.Add(time.Millisecond)
	switch e.name {
	case "init":
		if r.waiting {
			mode := fails
			if e.more == 1 {
				mode = late
			} else if e.record.there == 1 {
				mode = written
			}
			r.learn(mode)
		}
	case "arrive":
		r.changes[e.i] = &change{kind: e.more >> 5, members: e.more >> 1 & 15, side: r.sidecars[e.more&1]}
		return
	case "start":
		r.changes[e.i].signer, r.changes[e.i].started = e.more%nobody, true
		return
	case "look":
		r.changes[e.i].begin = r.start(e.i)
		r.goOn(r.changes[e.i].begin, works)
	case "begin":
		c := r.changes[e.i]
		if c.begin == nil { // else it is a change of the device
			c.begin = r.start(e.i)
		}
		r.goOn(c.begin, e.mode)
	case "back":
		c := r.changes[e.i]
		r.once(c.begin, e.mode)
		c.side.retries = append(c.side.retries, e.i)
	case "send":
		r.mustHaveBegun(e.i)
	case "unsent":
		r.mustHaveBegun(e.i)
		r.changes[e.i].status = targets.Unsent
	case "decide":
		r.changes[e.i].status = []int{0, 204, 401, 500}[e.more]
	case "finish":
		r.finish(e)
	case "flush":
		r.flush(r.changes[e.i].side, e.i, e.mode, e.more != 0)
	case "sync":
		r.flush(r.sidecars[e.i], 0, e.mode, true)
	case "land":
		r.late()
	case "never":
		r.late = nil
	case "pass":
		r.now = r.now.Add(61 * time.Second)
	case "die":
		r.replace(e.i)
	default:
		r.message(e)
	}
	if got := r.record(); got != e.record.count() {
		r.t.Errorf("the record is %+v, in the model %+v", got, e.record.count())
	}
}

// start begins a change.
func (r *replay) start(i int) *call {
	c := r.changes[i]
	s := c.side
	sign := func(members map[string]any) string {
		members["dispatchTargetId"] = target.ID
		return must(signingKeys[c.signer].Sign(must(json.Marshal(members))))
	}
	begin := func(ctx context.Context) (*targets.Change, error) { return s.BeginDelete(ctx, target.ID) }
	switch c.kind {
	case modify:
		members := make(map[string]any)
		if c.members&1 != 0 {
			members["target"] = address(i + 1)
		}
		if c.members&2 != 0 {
			members["encryptionKey"] = string(encryptionKeys[i+1].Public().JWK())
		}
		if c.members&4 != 0 {
			members["signatureKey"] = string(signingKeys[i+1].JWK())
		}
		jws := []byte(sign(members))
		begin = func(ctx context.Context) (*targets.Change, error) { return s.BeginModify(ctx, target.ID, jws) }
	case device, deviceDelete:
		call := targets.DeviceCall{Device: deviceID, Deletes: c.kind == deviceDelete, Body: c.kind == device, Signature: sign(map[string]any{})}
		begin = func(ctx context.Context) (*targets.Change, error) { return s.BeginDevice(ctx, call) }
	}
	return s.call(func(ctx context.Context) (err error) {
		c.begun, err = begin(ctx)
		return err
	})
}

// goOn lets a call ask the store once. Then it has ended, or is at the store again.
func (r *replay) goOn(c *call, mode int) {
	if !c.atStore() {
		r.t.Errorf("the store is not asked, error %v", c.err)
		return
	}
	c.mode <- mode
	synctest.Wait()
}

func (r *replay) mustHaveBegun(i int) {
	c := r.changes[i]
	if c.begin.atStore() {
		r.t.Error("the store is asked before the request is forwarded")
	} else if c.begin.err != nil {
		r.t.Errorf("the change could not begin: %v", c.begin.err)
	}
}

func (r *replay) finish(e event) {
	c := r.changes[e.i]
	done := c.side.call(func(ctx context.Context) error { return c.begun.Finish(ctx, c.status) })
	r.once(done, e.mode)
	if done.err != nil {
		c.side.retries = append(c.side.retries, e.i)
	}
}

// flush lets a process write what it keeps: one change, or with 0 the target. For
// all else the store fails. Whether the process keeps the change is as in the model.
func (r *replay) flush(s *sidecar, i, mode int, kept bool) {
	done := s.call(func(ctx context.Context) error {
		s.Flush(ctx)
		return nil
	})
	asked := false
	for _, one := range append(slices.Clone(s.retries), 0) {
		if !done.atStore() {
			break
		}
		if s.early = one != i; s.early {
			done.mode <- fails
			continue
		}
		asked = true
		done.mode <- mode
	}
	if done.atStore() || !asked {
		r.t.Errorf("the process keeps %v; that %d is recorded is %t", s.retries, i, asked)
	}
	s.early = false
	if !kept {
		s.retries = slices.DeleteFunc(s.retries, func(one int) bool { return one == i })
	}
}

// replace lets another process take the place of one that dies.
func (r *replay) replace(i int) {
	dead := r.sidecars[i]
	dead.die()
	synctest.Wait()
	r.sidecars[i] = r.newSidecar()
	for _, c := range r.changes {
		if c != nil && c.side == dead && !c.started {
			c.side = r.sidecars[i] // it comes later
		}
	}
}

// message makes the steps of a message to the target.
func (r *replay) message(e event) {
	if e.name == "end" {
		return
	}
	s := r.sidecars[e.i]
	switch e.name {
	case "find":
		var found *targets.Target
		s.search = s.call(func(ctx context.Context) (err error) {
			found, err = s.Find(ctx, target.ID)
			return err
		})
		if s.search.atStore() {
			s.search.mode <- works
		}
		synctest.Wait()
		if s.search.over() && keyOf(found) != e.more { // else it asks the key source
			r.t.Errorf("the message goes to key %d, in the model to %d", keyOf(found), e.more)
		}
	case "ask":
		src := s.Sources[0].KeySource.(*source)
		select {
		case <-src.asked:
		case <-s.search.ended:
			r.t.Error("the key source is not asked")
			return
		}
		if s.answer = nil; e.more>>6 == 0 {
			src.answer <- nil
		} else {
			s.answer = &targets.Target{
				Namespace: target.Namespace, ID: target.ID, Username: username, DeviceID: deviceID, Dispatcher: "fcm",
				Address: address(e.more >> 4 & 3), EncryptionKey: encryptionKeys[e.more>>2&3].Public().JWK(), SignatureKey: signingKeys[e.more&3].JWK(),
			}
		}
	case "keep":
		s.Sources[0].KeySource.(*source).answer <- s.answer
		r.once(s.search, e.mode)
	case "drop":
		r.once(s.call(func(ctx context.Context) error { return s.Drop(ctx, target.ID) }), e.mode)
	default:
		r.t.Errorf("step %q is not known", e.name)
	}
}

// keyOf returns the value of the key to which a message may go, or 0.
func keyOf(t *targets.Target) int {
	if t == nil || t.KeyUnsure() {
		return 0
	}
	return slices.IndexFunc(encryptionKeys, func(key *devicekey.PrivateKey) bool { return t.Thumbprint == key.Public().Thumbprint() })
}

// record returns the one in the store as the model sees it, with the number of
// changes in the fence in place of the set.
func (r *replay) record() record {
	t, err := r.store.Load(r.t.Context(), target)
	if errors.Is(err, targets.ErrNotFound) {
		return record{}
	}
	if err != nil {
		r.t.Fatal(err)
	}
	got := record{there: 1, unsure: set(t.Unsure)}
	if !t.Created.IsZero() {
		got.known = 1
	}
	for value := 1; value <= 3; value++ {
		if t.Address == address(value) {
			got.a = value
		}
		if t.Thumbprint == encryptionKeys[value].Public().Thumbprint() {
			got.k = value
		}
		if string(t.SignatureKey) == string(signingKeys[value].JWK()) {
			got.s = value
		}
	}
	if t.Fence != nil {
		got.fence, got.members = len(t.Fence.Changes), set(t.Fence.Members)
		if t.Fence.Shared {
			got.shared = 1
		}
	}
	return got
}

// count is the record with the number of changes in place of the set.
func (r record) count() record {
	r.fence = bits.OnesCount(uint(r.fence))
	return r
}

func set(members []string) (s int) {
	for bit, name := range map[int]string{1: "target", 2: "encryption_key", 4: "signature_key", 8: "existence"} {
		if slices.Contains(members, name) {
			s |= bit
		}
	}
	return s
}

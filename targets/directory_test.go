package targets_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/encrypt"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

// source is a key source that gives one answer.
type source struct {
	target *targets.Target
	err    error
	live   bool
	asked  int
	during func()
}

func (s *source) Find(context.Context, targets.Ref) (*targets.Target, error) {
	s.asked++
	if s.during != nil {
		s.during()
	}
	if s.target == nil {
		return nil, s.err
	}
	answer := *s.target
	return &answer, s.err
}

func (s *source) Live() bool { return s.live }

func none() *source { return &source{err: targets.ErrNotFound} }

func found(key int) *source {
	return &source{target: &targets.Target{
		Namespace: "bank", ID: "one", Name: "old phone", Address: "address-0", EncryptionKey: publicJWK(key),
	}}
}

func named(sources ...*source) []targets.NamedSource {
	var all []targets.NamedSource
	for i, s := range sources {
		all = append(all, targets.NamedSource{Name: string(rune('a' + i)), KeySource: s})
	}
	return all
}

func TestFindAsksSourcesInOrder(t *testing.T) {
	first, second, third := none(), found(1), found(2)
	f := newFixture(named(first, second, third)...)
	got := f.find(t)
	if got.Thumbprint != thumbprint(1) || got.Source != "b" || got.State() != targets.Active || !got.Created.Equal(noon) {
		t.Errorf("found %+v", got)
	}
	f.mustHaveSent(t, "learned")
	if again := f.find(t); !reflect.DeepEqual(again.Thumbprint, got.Thumbprint) || second.asked != 1 || third.asked != 0 {
		t.Errorf("the answer was not stored: asked %d and %d times", second.asked, third.asked)
	}
}

func TestFindCachesNoNegativeAnswer(t *testing.T) {
	s := none()
	f := newFixture(named(s)...)
	f.mustBeUnknown(t)
	f.mustBeUnknown(t)
	if s.asked != 2 {
		t.Errorf("the source was asked %d times, want 2", s.asked)
	}
	s.target, s.err = found(1).target, nil
	f.mustState(t, targets.Active)
}

func TestFindTellsTroubleFromAbsence(t *testing.T) {
	down := errors.New("connection refused")
	ref := targets.Ref{Namespace: "bank", ID: "one"}
	for name, f := range map[string]*fixture{
		"store down":                  withFault(newFixture(), kvtest.Load, down),
		"store down, source knows":    withFault(newFixture(named(found(1))...), kvtest.Load, down),
		"store cannot keep it":        withFault(newFixture(named(found(1))...), kvtest.Write, down),
		"the file is not found":       withFault(newFixture(named(found(1))...), kvtest.Write, fmt.Errorf("a file: %w", targets.ErrNotFound)),
		"source down":                 newFixture(named(&source{err: down})...),
		"first source down":           newFixture(named(&source{err: down}, found(1))...),
		"last source down":            newFixture(named(none(), &source{err: down})...),
		"source gives another id":     newFixture(named(&source{target: &targets.Target{Namespace: "bank", ID: "two"}})...),
		"source gives another tenant": newFixture(named(&source{target: &targets.Target{ID: "one"}})...),
	} {
		record, err := f.Find(t.Context(), "one")
		if !errors.Is(err, targets.ErrUnavailable) || errors.Is(err, targets.ErrNotFound) {
			t.Errorf("%s: Find gave %+v, error %v, want ErrUnavailable", name, record, err)
		}
	}
	f := newFixture(named(none())...)
	f.store.Set(ref, []byte(`{"schema":1`))
	if record, err := f.Find(t.Context(), "one"); !errors.Is(err, targets.ErrUnavailable) {
		t.Errorf("damaged record: Find gave %+v, error %v, want ErrUnavailable", record, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newFixture().Find(ctx, "one"); !errors.Is(err, targets.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: Find gave error %v", err)
	}
}

// wrongStore answers with the record of another target.
type wrongStore struct{ targets.Store }

func (s wrongStore) Load(ctx context.Context, ref targets.Ref) (*targets.Target, error) {
	record, err := s.Store.Load(ctx, ref)
	if record != nil {
		record.ID = "two"
	}
	return record, err
}

func TestFindComparesTheRecord(t *testing.T) {
	f := learned(t)
	f.Store = wrongStore{f.store}
	if record, err := f.Find(t.Context(), "one"); !errors.Is(err, targets.ErrUnavailable) {
		t.Errorf("Find gave %+v, error %v, want ErrUnavailable", record, err)
	}
}

func withFault(f *fixture, op kvtest.Op, err error) *fixture {
	f.store.SetFault(func(_ context.Context, at kvtest.Op) error {
		if at == op {
			return err
		}
		return nil
	})
	return f
}

func TestKeyOfSourceIsVetted(t *testing.T) {
	s := found(1)
	s.target.EncryptionKey = encryptionKeys[1].JWK() // private
	s.target.SignatureKey = json.RawMessage(`{"kty":"oct","k":"c2VjcmV0"}`)
	f := newFixture(named(s)...)
	if got := f.find(t); got.EncryptionKey != nil || got.SignatureKey != nil || got.Thumbprint != "" {
		t.Errorf("found %+v", got)
	}
	f.mustHaveSent(t, "key_refused private_members", "signature_key_refused private_members", "learned")
	mustHoldNothingPrivate(t, f)
}

func TestFindKeepsWhatHasChangedMeanwhile(t *testing.T) {
	s := found(1)
	f := newFixture(named(s)...)
	s.during = func() { f.learn(t, nil) } // with key 0, by nevisFIDO's own word
	if got := f.find(t); got.Thumbprint != thumbprint(0) {
		t.Errorf("an older answer of a source replaced what was learned: %+v", got)
	}
	s.during = nil
	if got := f.find(t); got.Thumbprint != thumbprint(0) {
		t.Errorf("an older answer of a source was stored: %+v", got)
	}
}

// A live source is asked while the target is unsure, and meanwhile another change
// of the same members ends as the first did: the record says no more than before,
// and the source's answer is old.
func TestFindForgetsAnAnswerOlderThanAChange(t *testing.T) {
	for name, change := range map[string]func(*fixture){
		"not answered": func(f *fixture) { f.modify(t, f.jws(newKey(2)), 500) },
		"accepted, and not to be applied": func(f *fixture) {
			f.modify(t, f.jws(map[string]any{"encryptionKey": string(publicJWK(2)), "creationTimeInEpochMillis": 1}), 204)
		},
	} {
		s := found(1)
		s.live = true
		f := learned(t, named(s)...)
		f.modify(t, f.jws(newKey(1)), 500)
		s.during = func() {
			f.now = f.now.Add(time.Second)
			change(f)
		}
		if got := f.find(t); got.State() != targets.Stale {
			t.Errorf("%s: an older answer of a source was stored: %+v", name, got)
		}
		s.during = nil
		f.mustState(t, targets.Active)
	}
}

func TestStaleRecordIsRepairedFromLiveSourceOnly(t *testing.T) {
	for _, live := range []bool{false, true} {
		s := found(1)
		s.live = live
		f := learned(t, named(s)...)
		f.modify(t, f.jws(map[string]any{"encryptionKey": json.RawMessage(publicJWK(1))}), 500)
		got := f.find(t)
		if repaired := got.State() == targets.Active && got.Thumbprint == thumbprint(1); repaired != live {
			t.Errorf("live %t: found %+v", live, got)
		}
	}
}

func TestStaleRecordStaysWhereSourceHasNoAnswer(t *testing.T) {
	for _, err := range []error{targets.ErrNotFound, errors.New("connection refused")} {
		f := learned(t, named(&source{live: true, err: err})...)
		f.modify(t, f.jws(map[string]any{"name": "x"}), 500)
		f.mustState(t, targets.Stale)
	}
}

func TestChangeUnderWayIsNotRepaired(t *testing.T) {
	s := found(1)
	s.live = true
	f := learned(t, named(s)...)
	must(f.BeginModify(t.Context(), "one", f.jws(map[string]any{"name": "x"})))
	f.mustState(t, targets.Stale)
	f.now = f.now.Add(time.Minute - 1)
	f.mustState(t, targets.Stale)
	f.now = f.now.Add(1) // whoever made the mark is dead by now
	f.mustState(t, targets.Active)
}

func TestKey(t *testing.T) {
	f := learned(t)
	record := f.find(t)
	for range 2 { // vetted, then from the cache
		key, err := f.Key(record)
		if err != nil || key.Thumbprint() != thumbprint(0) {
			t.Fatalf("key %v, error %v", key, err)
		}
	}
	record.Thumbprint = thumbprint(1)
	if _, err := f.Key(record); !errors.Is(err, targets.ErrUnavailable) {
		t.Errorf("a key that is not the record's gave error %v, want ErrUnavailable", err)
	}
	if _, err := f.Key(&targets.Target{}); !errors.Is(err, targets.ErrNoKey) {
		t.Errorf("no key gave error %v, want ErrNoKey", err)
	}
}

func TestKeyFollowsTodaysPolicy(t *testing.T) {
	f := newFixture()
	jwk := must(devicekey.GenerateKey("RSA-2048")).Public().JWK()
	f.learn(t, func(desc *nevisfido.TargetDescription) { desc.EncryptionKey = jwk })
	record := f.find(t)
	if _, err := f.Key(record); err != nil {
		t.Fatal(err)
	}
	f.Policy.MinRSABits = 3072
	_, err := f.Key(record)
	if refused, ok := errors.AsType[*encrypt.KeyError](err); !ok || refused.Reason != encrypt.ReasonRSASize {
		t.Errorf("after the policy rose: %v, want a KeyError", err)
	}
}

// Whichever byte of a record is damaged, the key of another is never used.
func TestDamagedRecordNeverGivesAnotherKey(t *testing.T) {
	f := learned(t)
	ref := targets.Ref{Namespace: "bank", ID: "one"}
	good := must(targets.Encode(f.find(t), ref))
	for i := range good {
		for _, flip := range []byte{0x01, 0x20, 0x80} {
			damaged := append([]byte(nil), good...)
			damaged[i] ^= flip
			f.store.Set(ref, damaged)
			record, err := f.Find(t.Context(), "one")
			if errors.Is(err, targets.ErrNotFound) {
				t.Fatalf("byte %d damaged by %#x: the target is not found", i, flip)
			}
			if err != nil {
				continue
			}
			if key, err := f.Key(record); err == nil && key.Thumbprint() != thumbprint(0) {
				t.Errorf("byte %d damaged by %#x: another key", i, flip)
			}
		}
	}
}

// Changes of a target wait for each other within a process, also while its
// configuration is replaced; changes of other targets do not.
func TestChangesOfATargetWait(t *testing.T) {
	f, reloaded := newFixture(), newFixture()
	reloaded.Unsynced = f.Unsynced
	first := must(f.BeginDelete(t.Context(), "one"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := reloaded.BeginDelete(ctx, "one"); !errors.Is(err, targets.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second change gave error %v", err)
	}
	other := must(f.BeginDelete(t.Context(), "two"))
	finish(t, other, 401)
	finish(t, first, 401)
	again := must(reloaded.BeginDelete(t.Context(), "one"))
	finish(t, again, 204)
}

func TestRecordFollowsNevisFIDOsOrder(t *testing.T) {
	f := newFixture()
	f.Events = nil // called by many goroutines otherwise
	f.learn(t, nil)
	last := ""
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			name := strconv.Itoa(i)
			c, err := f.BeginModify(t.Context(), "one", f.jws(map[string]any{"name": name, "creationTimeInEpochMillis": nil}))
			if err != nil {
				t.Error(err)
				return
			}
			last = name // the race detector watches
			if err := c.Finish(t.Context(), 204); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := f.mustState(t, targets.Active); got.Name != last {
		t.Errorf("the record has name %q, nevisFIDO %q", got.Name, last)
	}
}

func mustHoldNothingPrivate(t *testing.T, f *fixture) {
	t.Helper()
	for line := range strings.SplitSeq(strings.TrimSpace(string(f.store.Dump())), "\n") {
		var record struct {
			EncryptionKey map[string]any `json:"encryption_key"`
			SignatureKey  map[string]any `json:"signature_key"`
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		for _, jwk := range []map[string]any{record.EncryptionKey, record.SignatureKey} {
			for _, member := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
				if _, ok := jwk[member]; ok {
					t.Errorf("private member %q is stored", member)
				}
			}
		}
	}
}

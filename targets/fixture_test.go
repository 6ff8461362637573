package targets_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/devicekey"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

// Keys are made once: tests tell them apart, no more.
var (
	encryptionKeys []*devicekey.PrivateKey
	signingKeys    []*devicekey.SigningKey
)

func TestMain(m *testing.M) {
	for range 5 {
		encryptionKeys = append(encryptionKeys, must(devicekey.GenerateKey("P-256")))
	}
	for range 3 {
		signingKeys = append(signingKeys, must(devicekey.GenerateSigningKey("Ed25519")))
	}
	must(0, flag.Set("rapid.checks", "1000"))
	must(0, flag.Set("rapid.nofailfile", "true"))
	os.Exit(m.Run())
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func publicJWK(key int) []byte { return encryptionKeys[key].Public().JWK() }

func thumbprint(key int) string { return encryptionKeys[key].Public().Thumbprint() }

var one = targets.Ref{Namespace: "bank", ID: "one"}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// fixture is a Directory over a store in memory, with its own clock.
type fixture struct {
	*targets.Directory
	*clock
	store  *kvtest.Memory
	events []targets.Event
}

type clock struct{ now time.Time }

func newFixture(sources ...targets.NamedSource) *fixture {
	f := &fixture{store: new(kvtest.Memory), clock: &clock{noon}}
	f.Directory = &targets.Directory{
		Store: f.store, Sources: sources, Namespace: "bank", Unsynced: new(targets.Unsynced),
		Now:    func() time.Time { return f.now },
		Events: func(_ context.Context, e targets.Event) { f.events = append(f.events, e) },
	}
	return f
}

// learned returns a fixture that has learned target "one".
func learned(t *testing.T, sources ...targets.NamedSource) *fixture {
	t.Helper()
	f := newFixture(sources...)
	f.learn(t, nil)
	return f
}

// another returns another process on the same store, with the same clock.
func (f *fixture) another() *fixture {
	other := newFixture(f.Sources...)
	other.store, other.Store, other.clock, other.Now = f.store, f.Store, f.clock, f.Now
	return other
}

// learn records target "one" of "device-1" with encryption key 0 and signing
// key 0, unless the change says otherwise.
func (f *fixture) learn(t *testing.T, change func(*nevisfido.TargetDescription)) {
	t.Helper()
	desc := &nevisfido.TargetDescription{
		Username: "jeff", DeviceID: "device-1", Name: "phone", Target: "address-1", Dispatcher: "fcm",
		EncryptionKey: publicJWK(0), SignatureKey: signingKeys[0].JWK(),
	}
	if change != nil {
		change(desc)
	}
	err := f.Learn(t.Context(), desc, nevisfido.CreatedTarget{ID: "one", ExtID: "ext-1"}, targets.SourceCreate)
	if err != nil {
		t.Fatal(err)
	}
	f.events = nil
}

// create records target "one" anew, with no more than the description says.
func (f *fixture) create(t *testing.T, desc nevisfido.TargetDescription) error {
	return f.Learn(t.Context(), &desc, nevisfido.CreatedTarget{ID: "one"}, targets.SourceCreate)
}

func unsigned(desc *nevisfido.TargetDescription) { desc.SignatureKey = nil }

// payload is that of a modification of target "one", made now.
func (f *fixture) payload(members map[string]any) []byte {
	all := map[string]any{
		"dispatchTargetId": "one", "requestId": "r", "creationTimeInEpochMillis": f.now.UnixMilli(),
	}
	maps.Copy(all, members)
	for name, value := range all {
		if value == nil {
			delete(all, name)
		}
	}
	return must(json.Marshal(all))
}

// everything brings all members of a target, with keys of these numbers.
func everything(encryption, signature int) map[string]any {
	return map[string]any{
		"name": "new name", "target": "address-2", "dispatcher": "link",
		"encryptionKey": json.RawMessage(publicJWK(encryption)), "signatureKey": json.RawMessage(signingKeys[signature].JWK()),
	}
}

// jws is a modification of target "one", signed with signing key 0.
func (f *fixture) jws(members map[string]any) []byte {
	return []byte(must(signingKeys[0].Sign(f.payload(members))))
}

// modify takes a modification through to nevisFIDO's answer.
func (f *fixture) modify(t *testing.T, jws []byte, status int) {
	t.Helper()
	finish(t, must(f.BeginModify(t.Context(), "one", jws)), status)
}

func finish(t *testing.T, c *targets.Change, status int) {
	t.Helper()
	if err := c.Finish(t.Context(), status); err != nil {
		t.Fatal(err)
	}
}

// expire puts the address of "one" in quarantine.
func (f *fixture) expire(t *testing.T) {
	t.Helper()
	if err := f.Expire(t.Context(), f.find(t)); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) find(t *testing.T) *targets.Target {
	t.Helper()
	record, err := f.Find(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func (f *fixture) mustState(t *testing.T, want targets.State) *targets.Target {
	t.Helper()
	record := f.find(t)
	if record.State() != want {
		t.Errorf("state is %s, want %s", record.State(), want)
	}
	return record
}

func (f *fixture) mustHaveKey(t *testing.T, want targets.State, key int) {
	t.Helper()
	if record := f.mustState(t, want); record.Thumbprint != thumbprint(key) {
		t.Errorf("the key is not number %d: %+v", key, record)
	}
}

// stored returns the record as another process sees it.
func (f *fixture) stored(t *testing.T) *targets.Target {
	t.Helper()
	record, err := f.store.Load(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func (f *fixture) mustBeUnknown(t *testing.T) {
	t.Helper()
	if record, err := f.Find(t.Context(), "one"); !errors.Is(err, targets.ErrNotFound) {
		t.Errorf("Find gave %+v, error %v, want ErrNotFound", record, err)
	}
}

// mustHaveSent checks names and reasons of the events since the last look.
func (f *fixture) mustHaveSent(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, e := range f.events {
		name := string(e.Name)
		if e.Reason != "" {
			name += " " + e.Reason
		}
		got = append(got, name)
		if e.Ref.ID == "" || e.Ref.Namespace != f.Namespace || e.Source == "" {
			t.Errorf("event %+v lacks its target or source", e)
		}
	}
	f.events = nil
	if !slices.Equal(got, want) {
		t.Errorf("events are %q, want %q", got, want)
	}
}

package targets_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

// deviceSignature is what the device of target "one" signs now.
func (f *fixture) deviceSignature(members map[string]any) string {
	return string(f.jws(members))
}

func (f *fixture) deviceCall(members map[string]any, deletes bool) targets.DeviceCall {
	return targets.DeviceCall{Device: "device-1", Signature: f.deviceSignature(members), Deletes: deletes}
}

// beginDevice begins a signed change of device-1.
func (f *fixture) beginDevice(t *testing.T, deletes bool) *targets.Change {
	t.Helper()
	c := must(f.BeginDevice(t.Context(), f.deviceCall(nil, deletes)))
	return c
}

// learnAs records another target with signature key 1.
func (f *fixture) learnAs(t *testing.T, id, user, device string) {
	t.Helper()
	desc := &nevisfido.TargetDescription{Username: user, DeviceID: device, EncryptionKey: publicJWK(1), SignatureKey: signingKeys[1].JWK()}
	if err := f.Learn(t.Context(), desc, nevisfido.CreatedTarget{ID: id}, targets.SourceCreate); err != nil {
		t.Fatal(err)
	}
	f.events = nil
}

// states returns those of all targets, "gone" for one that is not known.
func (f *fixture) states(t *testing.T, ids ...string) map[string]targets.State {
	t.Helper()
	states := make(map[string]targets.State)
	for _, id := range ids {
		record, err := f.Find(t.Context(), id)
		switch {
		case errors.Is(err, targets.ErrNotFound):
			states[id] = "gone"
		case err != nil:
			t.Fatal(err)
		default:
			states[id] = record.State()
		}
	}
	return states
}

// What nevisFIDO answers decides about the targets that the signer's user has on
// the device, and about no other ones: devices share ids.
func TestChangeOfDevice(t *testing.T) {
	for _, deletes := range []bool{false, true} {
		for status, want := range map[int]string{
			200: "new", 204: "new", 400: "old", 401: "old", 404: "old", 0: "stale", 302: "stale", 500: "stale", 504: "stale",
		} {
			f := learned(t)
			f.learnAs(t, "sibling", "jeff", "device-1")
			f.learnAs(t, "other user", "mia", "device-1")
			f.learnAs(t, "no user", "", "device-1")
			f.learnAs(t, "other device", "jeff", "device-2")
			f.learnAs(t, "no device", "jeff", "")
			before := f.store.Dump()
			c := f.beginDevice(t, deletes)
			f.mustState(t, targets.Stale) // before nevisFIDO sees it
			finish(t, c, status)
			state, event := targets.Active, ""
			switch {
			case want == "new" && deletes:
				state, event = "gone", "forgotten"
			case want == "new":
				state, event = targets.Stale, "stale device_modified"
			case want == "stale":
				state, event = targets.Stale, "stale unanswered"
			case len(before) != len(f.store.Dump()):
				t.Errorf("status %d: the records are not as they were", status)
			}
			if event == "" {
				f.mustHaveSent(t)
			} else {
				f.mustHaveSent(t, event, event)
			}
			got := f.states(t, "one", "sibling", "other user", "no user", "other device", "no device")
			if !maps.Equal(got, map[string]targets.State{
				"one": state, "sibling": state, "other user": targets.Active, "no user": targets.Active, "other device": targets.Active, "no device": targets.Active,
			}) {
				t.Errorf("deletes %t, status %d: the targets are %v", deletes, status, got)
			}
		}
	}
}

// Anybody can send a change of a device, and name any target in it. Before
// nevisFIDO accepts it nothing is stale, and then only what the named target's
// user has there.
func TestChangeOfDeviceThatDoesNotVerify(t *testing.T) {
	for name, signature := range map[string]func(*fixture) string{
		"none":             func(*fixture) string { return "" },
		"not a JWS":        func(*fixture) string { return "jws" },
		"names nobody":     func(f *fixture) string { return f.deviceSignature(map[string]any{"dispatchTargetId": nil}) },
		"names an unknown": func(f *fixture) string { return f.deviceSignature(map[string]any{"dispatchTargetId": "nobody"}) },
		"another's key":    func(f *fixture) string { return string(forged(f, nil)) },
		"another's target": func(f *fixture) string { return f.deviceSignature(map[string]any{"dispatchTargetId": "other user"}) },
		"not signed":       func(f *fixture) string { return string(unsignedJWS(f.payload(nil))) },
		"an old one": func(f *fixture) string {
			return f.deviceSignature(map[string]any{"creationTimeInEpochMillis": f.now.Add(-time.Hour).UnixMilli()})
		},
	} {
		for _, status := range []int{0, 204, 401, 500} {
			f := learned(t)
			f.learnAs(t, "sibling", "jeff", "device-1")
			f.learnAs(t, "other user", "mia", "device-1")
			before := f.store.Dump()
			c := must(f.BeginDevice(t.Context(), targets.DeviceCall{Device: "device-1", Signature: signature(f), Deletes: status%2 == 0}))
			f.mustState(t, targets.Active)
			finish(t, c, status)
			want := map[string]targets.State{"one": targets.Active, "sibling": targets.Active, "other user": targets.Active}
			switch {
			case status != 204:
				if len(before) != len(f.store.Dump()) {
					t.Errorf("%s, status %d: the records changed", name, status)
				}
			case name == "another's target":
				want["other user"] = targets.Stale
			case name == "another's key", name == "not signed", name == "an old one":
				want["one"], want["sibling"] = targets.Stale, targets.Stale
				f.mustHaveSent(t, "stale signature", "stale signature")
			}
			if got := f.states(t, "one", "sibling", "other user"); !maps.Equal(got, want) {
				t.Errorf("%s, status %d: the targets are %v", name, status, got)
			}
		}
	}
}

// What the signed payload brings to the named target is a modification of it: it
// is applied, and only that is unsure if nevisFIDO does not answer.
func TestDevicePayloadModifiesTheTarget(t *testing.T) {
	for status, want := range map[int]targets.State{204: targets.Active, 401: targets.Active, 500: targets.Stale} {
		f := learned(t)
		f.learnAs(t, "sibling", "jeff", "device-1")
		change := func(status int) {
			c := must(f.BeginDevice(t.Context(), f.deviceCall(newKey(2), false)))
			f.mustState(t, targets.Stale)
			finish(t, c, status)
		}
		change(status)
		if got := f.states(t, "one", "sibling"); got["one"] != want || got["sibling"] != targets.Active {
			t.Errorf("status %d: the targets are %v", status, got)
		}
		if got := f.find(t); (got.Thumbprint == thumbprint(2)) != (status == 204) {
			t.Errorf("status %d: the record is %+v", status, got)
		}
		change(204) // once more
		f.mustHaveKey(t, targets.Active, 2)
	}
	f := learned(t) // with a body nobody knows what else changes
	call := f.deviceCall(newKey(2), false)
	call.Body = true
	c := must(f.BeginDevice(t.Context(), call))
	finish(t, c, 204)
	f.mustState(t, targets.Stale)
}

// What the key of one device signs modifies nothing in the name of another device.
func TestDevicePayloadForAnotherDevice(t *testing.T) {
	f := learned(t)
	f.learnAs(t, "other device", "jeff", "device-2")
	call := f.deviceCall(newKey(2), false)
	call.Device = "device-2"
	finish(t, must(f.BeginDevice(t.Context(), call)), 204)
	f.mustHaveKey(t, targets.Active, 0)
	f.mustHaveSent(t)
}

// A record that was made of a modification, such as after the store lost what it
// was told of the registration, does not say which device it is on. What its key
// signs for the device service concerns it, on whatever device.
func TestChangeOfADeviceThatIsNotKnown(t *testing.T) {
	for name, test := range map[string]struct {
		call func(*fixture) targets.DeviceCall
		want targets.State
		key  int
	}{
		"a key in the payload":     {func(f *fixture) targets.DeviceCall { return f.deviceCall(newKey(2), false) }, targets.Active, 2},
		"nothing that can be read": {func(f *fixture) targets.DeviceCall { return f.deviceCall(nil, false) }, targets.Stale, 0},
		"a key that is not known": {func(f *fixture) targets.DeviceCall {
			return targets.DeviceCall{Device: "device-1", Signature: string(forged(f, newKey(2)))}
		}, targets.Stale, 0},
		"a deletion": {func(f *fixture) targets.DeviceCall { return f.deviceCall(nil, true) }, "gone", 0},
	} {
		f := newFixture()
		f.modify(t, f.jws(everything(0, 0)), 204)
		f.mustState(t, targets.Active)
		finish(t, must(f.BeginDevice(t.Context(), test.call(f))), 204)
		if got := f.states(t, "one")["one"]; got != test.want {
			t.Errorf("%s: the target is %s, want %s", name, got, test.want)
		}
		if got, err := f.Find(t.Context(), "one"); err == nil && got.Thumbprint != thumbprint(test.key) {
			t.Errorf("%s: the key is %s", name, got.Thumbprint)
		}
	}
}

// While one process learns a target from a modification, another one has its device
// changed, which did not know it. Nobody knows which of the two came first.
func TestDeviceChangedWhileItsTargetIsLearned(t *testing.T) {
	f := newFixture()
	other := f.another()
	device := must(f.BeginDevice(t.Context(), f.deviceCall(newKey(2), false)))
	modification := must(other.BeginModify(t.Context(), "one", f.jws(everything(0, 0))))
	finish(t, modification, 204)
	f.mustState(t, targets.Stale)
	finish(t, device, 204)
	f.mustState(t, targets.Stale)
	f.modify(t, f.jws(everything(0, 0)), 204)
	f.mustState(t, targets.Active)
}

// Without a signature key on record nobody can tell a forgery, and the target that
// is named is stale while nevisFIDO is asked, for all processes.
func TestChangeOfDeviceWithoutASignatureKey(t *testing.T) {
	for status, want := range map[int]int{204: 2, 401: 0} {
		f := newFixture()
		f.learn(t, unsigned)
		c := must(f.BeginDevice(t.Context(), f.deviceCall(newKey(2), false)))
		if got := f.another().states(t, "one"); got["one"] != targets.Stale {
			t.Errorf("before nevisFIDO answers the target is %s", got["one"])
		}
		finish(t, c, status)
		if got := f.mustState(t, targets.Active); got.Thumbprint != thumbprint(want) {
			t.Errorf("status %d: the key is %s", status, got.Thumbprint)
		}
	}
}

// Without the user's name nobody knows whose the other targets of the device are.
func TestChangeOfDeviceOfAnUnnamedUser(t *testing.T) {
	f := newFixture()
	f.learn(t, func(desc *nevisfido.TargetDescription) { desc.Username = "" })
	f.learnAs(t, "two", "", "device-1")
	finish(t, f.beginDevice(t, true), 204)
	if got := f.states(t, "one", "two"); got["one"] != "gone" || got["two"] != targets.Active {
		t.Errorf("the targets are %v", got)
	}
}

// Where our signature key may be outdated nobody can tell a forgery, and the
// target stays stale whatever comes between.
func TestChangeOfDeviceWithAnUnsureKey(t *testing.T) {
	f := learned(t)
	f.learnAs(t, "sibling", "jeff", "device-1")
	f.modify(t, forged(f, newKey(1)), 204)
	c := must(f.BeginDevice(t.Context(), targets.DeviceCall{Device: "device-1", Signature: string(forged(f, nil))}))
	f.another().modify(t, forged(f, everything(2, 1)), 204)
	if got := f.states(t, "one", "sibling"); got["one"] != targets.Stale || got["sibling"] != targets.Active {
		t.Errorf("the targets are %v", got)
	}
	finish(t, c, 204)
	if got := f.states(t, "one", "sibling"); got["one"] != targets.Stale || got["sibling"] != targets.Stale {
		t.Errorf("the targets are %v", got)
	}
}

// A process that dies while nevisFIDO is asked leaves no target usable.
func TestCrashDuringChangeOfDevice(t *testing.T) {
	for _, deletes := range []bool{false, true} {
		f := learned(t)
		f.beginDevice(t, deletes)
		f.now = f.now.Add(time.Hour)
		f.another().mustState(t, targets.Stale)
	}
}

// crowded is a store whose list of a device's targets was not completed by
// some process that died, and tells no users apart.
type crowded struct{ targets.Store }

func (crowded) OfDevice(context.Context, string, string, string) ([]string, error) {
	return []string{"nobody", "one", "other user", "other device"}, nil
}

func TestChangeOfDeviceLooksAtTheRecords(t *testing.T) {
	f := learned(t)
	f.learnAs(t, "other user", "mia", "device-1")
	f.learnAs(t, "other device", "jeff", "device-2")
	f.Store = crowded{f.store}
	finish(t, f.beginDevice(t, true), 204)
	if got := f.states(t, "one", "other user", "other device"); got["one"] != "gone" || got["other user"] != targets.Active || got["other device"] != targets.Active {
		t.Errorf("the targets are %v", got)
	}
}

func TestChangeOfDeviceCannotBeFenced(t *testing.T) {
	for _, op := range []kvtest.Op{kvtest.Load, kvtest.OfDevice, kvtest.Write} {
		f := learned(t)
		withFault(f, op, errFull)
		if _, err := f.BeginDevice(t.Context(), f.deviceCall(nil, true)); !errors.Is(err, targets.ErrUnavailable) {
			t.Errorf("%s fails: error %v, want ErrUnavailable", op, err)
		}
		f.store.SetFault(nil)
		f.mustState(t, targets.Active)
		f.mustHaveSent(t)
		f.modify(t, f.jws(nil), 204) // nothing keeps it waiting
	}
}

// One of the device's targets has its fence when the store begins to fail.
func TestChangeOfDeviceFencedByHalf(t *testing.T) {
	f := learned(t)
	f.learnAs(t, "two", "jeff", "device-1")
	writes := 0
	f.store.SetFault(func(_ context.Context, op kvtest.Op) error {
		if op == kvtest.Write {
			if writes++; writes == 2 {
				return errFull
			}
		}
		return nil
	})
	if _, err := f.BeginDevice(t.Context(), f.deviceCall(nil, false)); !errors.Is(err, targets.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	if got := f.states(t, "one", "two"); got["one"] != targets.Active || got["two"] != targets.Active {
		t.Errorf("the targets are %v", got)
	}
}

func TestChangeOfDeviceThatCannotBeRecordedStaysStale(t *testing.T) {
	for _, deletes := range []bool{false, true} {
		for _, op := range []kvtest.Op{kvtest.OfDevice, kvtest.Write} {
			f := learned(t)
			c := f.beginDevice(t, deletes)
			withFault(f, op, errFull)
			if err := c.Finish(t.Context(), 204); !errors.Is(err, targets.ErrUnavailable) {
				t.Errorf("%s fails: error %v, want ErrUnavailable", op, err)
			}
			if op == kvtest.Write {
				f.mustState(t, targets.Stale)
			}
		}
	}
}

// A target that the device gets while nevisFIDO is asked is not left out.
func TestTargetLearnedDuringChangeOfDevice(t *testing.T) {
	f := learned(t)
	c := f.beginDevice(t, true)
	f.learnAs(t, "two", "jeff", "device-1")
	finish(t, c, 204)
	if got := f.states(t, "one", "two"); got["one"] != "gone" || got["two"] != "gone" {
		t.Errorf("the targets are %v", got)
	}
}

// A modification that was under way when the device changed does not make its
// target usable again.
func TestDeviceChangedDuringChange(t *testing.T) {
	for _, status := range []int{204, 401, 500} {
		f := learned(t)
		c := must(f.BeginModify(t.Context(), "one", f.jws(map[string]any{"name": "x"})))
		finish(t, f.another().beginDevice(t, false), 204)
		finish(t, c, status)
		f.mustState(t, targets.Stale)
	}
}

// Ten thousand targets share one device id, as with Android SDK 3.6.1 and 3.6.2.
// Forged and valid calls are mixed: exactly the signers' targets change.
func TestCrowdedDeviceID(t *testing.T) {
	const crowd = 10_000
	f := newFixture()
	f.Events = nil
	f.learn(t, nil)
	record := f.find(t)
	for i := range crowd {
		record.ID, record.Username, record.SignatureKey = fmt.Sprint("target-", i), fmt.Sprint("user-", i), signingKeys[i%2].JWK()
		one := *record
		if err := f.store.Update(t.Context(), one.Ref(), func(*targets.Target) (*targets.Target, error) { return &one, nil }); err != nil {
			t.Fatal(err)
		}
	}
	want := bytes.Count(f.store.Dump(), []byte("\n"))
	for i := range 100 {
		id := fmt.Sprint("target-", i*97)
		payload := f.payload(map[string]any{"dispatchTargetId": id})
		valid := i%4 == 0
		signer := signingKeys[(i*97)%2]
		if !valid {
			signer = signingKeys[2]
		}
		c := must(f.BeginDevice(t.Context(), targets.DeviceCall{Device: "device-1", Signature: must(signer.Sign(payload)), Deletes: true}))
		status := []int{401, 500, 504, 0}[i%4]
		if valid {
			status = 204
			want--
		}
		finish(t, c, status)
	}
	dump := f.store.Dump()
	if got := bytes.Count(dump, []byte("\n")); got != want || bytes.Contains(dump, []byte(`"unsure"`)) || bytes.Contains(dump, []byte(`"fence"`)) {
		t.Errorf("%d targets are left, want %d, and all of them usable", got, want)
	}
}

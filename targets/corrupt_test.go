package targets_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/targets"
)

// rewrite changes the text of the record of "one".
func (f *fixture) rewrite(t *testing.T, old, text string) {
	t.Helper()
	data := string(bytes.TrimSpace(f.store.Dump()))
	if !strings.Contains(data, old) {
		t.Fatalf("%s does not stand in %s", old, data)
	}
	f.store.Set(one, []byte(strings.Replace(data, old, text, 1)))
}

// A record that cannot be read ends with what nevisFIDO says next of the target.
func TestDamagedRecordIsHealed(t *testing.T) {
	f := learned(t)
	f.rewrite(t, `"id":`, `"ID":`)
	if _, err := f.Find(t.Context(), "one"); !errors.Is(err, targets.ErrUnavailable) || !strings.Contains(err.Error(), one.Hash()) {
		t.Errorf("Find gave error %v, want ErrUnavailable with the record's hash", err)
	}
	if err := f.create(t, nevisfido.TargetDescription{EncryptionKey: publicJWK(1)}); err != nil {
		t.Fatal(err)
	}
	f.mustHaveSent(t, "dropped damaged", "learned")
	f.mustHaveKey(t, targets.Active, 1)

	f.rewrite(t, `"id":`, `"ID":`)
	if err := f.Invalidate(t.Context(), "one", targets.SourceCreate); err != nil {
		t.Fatal(err)
	}
	f.mustBeUnknown(t)
}

func TestDamagedRecordIsDeleted(t *testing.T) {
	for status, gone := range map[int]bool{204: true, 401: false, 500: false} {
		f := learned(t)
		f.rewrite(t, `"id":`, `"ID":`)
		p := must(f.BeginDelete(t.Context(), "one"))
		finish(t, p, status)
		if gone {
			f.mustBeUnknown(t)
		} else if _, err := f.Find(t.Context(), "one"); !errors.Is(err, targets.ErrUnavailable) {
			t.Errorf("status %d: Find gave error %v, want ErrUnavailable", status, err)
		}
	}
}

// Another process may be able to read what this one cannot.
func TestDamagedRecordOfDevice(t *testing.T) {
	for status, gone := range map[int]bool{204: true, 401: false, 500: false} {
		for _, deletes := range []bool{false, true} {
			f := learned(t)
			p := must(f.BeginDevice(t.Context(), f.deviceCall(nil, deletes)))
			f.store.Set(one, []byte("sealed with a key that is not here"))
			finish(t, p, status)
			if left := len(f.store.Dump()) > 0; left == gone {
				t.Errorf("status %d: the record is there: %t", status, left)
			}
			if gone {
				f.mustHaveSent(t, "dropped damaged")
			}
		}
	}
}

// What a newer release keeps to itself is not for this one to replace.
func TestNewerRecordIsNotOverwritten(t *testing.T) {
	f := learned(t)
	f.rewrite(t, `"schema":2`, `"schema":4`)
	before := f.store.Dump()
	err := f.create(t, nevisfido.TargetDescription{EncryptionKey: publicJWK(1)})
	if !errors.Is(err, targets.ErrNewer) || !errors.Is(err, targets.ErrUnavailable) {
		t.Errorf("learning gave error %v", err)
	}
	if _, err := f.BeginDelete(t.Context(), "one"); !errors.Is(err, targets.ErrUnavailable) {
		t.Errorf("deleting gave error %v", err)
	}
	if !bytes.Equal(before, f.store.Dump()) {
		t.Errorf("the record is %s", f.store.Dump())
	}
}

// A newer release's members stay until the keys of the record change.
func TestUnknownMembers(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fixture)
		stay   bool
	}{
		"name":         {func(f *fixture) { f.modify(t, f.jws(map[string]any{"name": "x"}), 204) }, true},
		"address":      {func(f *fixture) { f.modify(t, f.jws(map[string]any{"target": "x"}), 204) }, true},
		"refused":      {func(f *fixture) { f.modify(t, f.jws(newKey(1)), 401) }, true},
		"unsure":       {func(f *fixture) { f.modify(t, f.jws(newKey(1)), 500) }, true},
		"expired":      {func(f *fixture) { _ = f.Expire(t.Context(), f.find(t)) }, true},
		"the same key": {func(f *fixture) { f.modify(t, f.jws(newKey(0)), 204) }, true},
		"key":          {func(f *fixture) { f.modify(t, f.jws(newKey(1)), 204) }, false},
		"signature key": {func(f *fixture) {
			f.modify(t, f.jws(map[string]any{"signatureKey": json.RawMessage(signingKeys[1].JWK())}), 204)
		}, false},
		"registered again": {func(f *fixture) { f.learn(t, nil) }, false},
	} {
		f := learned(t)
		f.rewrite(t, `"schema":2`, `"schema":4,"min_schema":2,"colour":"blue"`)
		f.mustState(t, targets.Active)
		c.change(f)
		dump := string(f.store.Dump())
		if strings.Contains(dump, `"colour":"blue"`) != c.stay || strings.Contains(dump, `"schema":4,"min_schema":2`) != c.stay {
			t.Errorf("%s: the record is %s", name, dump)
		}
	}
}

// Another name says nothing of an address that is gone.
func TestWhatEndsQuarantine(t *testing.T) {
	for name, c := range map[string]struct {
		members map[string]any
		want    targets.State
	}{
		"name":             {map[string]any{"name": "x"}, targets.Expired},
		"nothing":          {nil, targets.Expired},
		"another address":  {map[string]any{"target": "address-2"}, targets.Active},
		"the same address": {map[string]any{"target": "address-1"}, targets.Active},
		"dispatcher":       {map[string]any{"dispatcher": "link"}, targets.Active},
		"key":              {newKey(1), targets.Active},
		"name and key":     {map[string]any{"name": "x", "encryptionKey": json.RawMessage(publicJWK(1))}, targets.Active},
	} {
		for status := range map[int]bool{204: true, 401: false} {
			f := learned(t)
			f.expire(t)
			f.modify(t, f.jws(c.members), status)
			want := c.want
			if status == 401 {
				want = targets.Expired
			}
			if got := f.find(t); got.State() != want {
				t.Errorf("%s, status %d: the target is %s, want %s", name, status, got.State(), want)
			}
		}
	}
}

// What a process that died left behind is repaired by the next valid change, a
// minute later.
func TestChangeAfterCrash(t *testing.T) {
	for _, test := range []struct {
		after time.Duration
		want  targets.State
	}{{2*targets.ChangeTime - 1, targets.Stale}, {time.Minute, targets.Active}} {
		f := learned(t)
		must(f.BeginModify(t.Context(), "one", f.jws(newKey(1))))
		f = f.another()
		f.now = f.now.Add(test.after)
		f.modify(t, f.jws(newKey(2)), 204)
		f.mustState(t, test.want)
	}
}

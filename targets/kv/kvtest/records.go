package kvtest

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv"
)

// unreadable tests a store where a record is there and cannot be read: it is
// unavailable, and never overwritten.
func unreadable(t *testing.T, s *store) {
	good := func(ref targets.Ref) string {
		data, err := targets.Encode(Target(ref), ref)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	const schema = `"schema":3`
	for name, change := range map[string]struct{ from, to string }{ // "" stands for the whole record
		"newer release":                {schema, `"schema":4,"colour":"blue"`},
		"newer, same members":          {schema, `"schema":4`},
		"newer, demands more":          {schema, `"schema":5,"min_schema":4`},
		"demands nothing":              {schema, `"schema":4,"min_schema":0`},
		"demands more than it has":     {schema, `"schema":0,"min_schema":1`},
		"older, with members of today": {schema, `"schema":1,"state":"active"`},
		"members of an older one":      {schema, `"schema":3,"state":"active"`},
		"one more member":              {schema, `"schema":3,"colour":"blue"`},
		"older than any":               {schema, `"schema":0`},
		"unknown member":               {`"name"`, `"Name"`},
		"duplicate member":             {`{`, `{"id":"x",`},
		"no changes":                   {`"changes":[`, `"changes":[],"x":[`},
		"key alone":                    {`"thumbprint-1"`, `""`},
		"empty":                        {"", ""},
		"null":                         {"", "null"},
		"not JSON":                     {"", "\x00\x01\x02"},
		"truncated":                    {"", good(targets.Ref{ID: "truncated"})[:100]},
		"something behind":             {"", good(targets.Ref{ID: "something behind"}) + "{}"},
		"another target":               {"", good(targets.Ref{ID: "somebody else"})},
		"another tenant":               {"", good(targets.Ref{Namespace: "x", ID: "another tenant"})},
		"too long":                     {"", good(targets.Ref{ID: "too long"}) + strings.Repeat(" ", targets.MaxRecord)},
	} {
		t.Run(name, func(t *testing.T) {
			ref := targets.Ref{ID: name}
			data := []byte(change.to)
			if change.from != "" {
				data = []byte(strings.Replace(good(ref), change.from, change.to, 1))
			}
			s.write(ref, data)
			mustBeUnavailable(t, s, ref)
			if strings.HasPrefix(name, "newer") {
				mustNotHeal(t, s, ref)
				return
			}
			mustHeal(t, s, ref, Target(ref))
			s.write(ref, data)
			mustHeal(t, s, ref, nil)
		})
	}
}

// Target returns a record with every member set that a store has to keep.
func Target(ref targets.Ref) *targets.Target {
	at := time.Date(2026, 11, 23, 12, 30, 0, 123456789, time.UTC)
	return &targets.Target{
		Schema: targets.SchemaVersion, Namespace: ref.Namespace, ID: ref.ID, ExtID: "ext-1",
		Username: "jeff", DeviceID: "device-1", Name: "Jeff's <phone> & \u2028", Address: "token:1",
		Dispatcher:    "fcm",
		EncryptionKey: json.RawMessage(`{"kty":"EC","crv":"P-256","x":"AA","y":"AQ"}`),
		SignatureKey:  json.RawMessage(`{"kty":"EC","crv":"P-256","x":"Ag","y":"Aw"}`),
		Thumbprint:    "thumbprint-1", Source: targets.SourceCreate,
		Created: at, Updated: at.Add(time.Hour), Modified: 1<<53 + 1,
		Fence:       &targets.Fence{Changes: []targets.FencedChange{{ID: "change-1", Since: at}}, Members: []string{"name"}, Shared: true},
		Unsure:      []string{"target"},
		GoneAddress: "token:1", Blocked: at,
	}
}

// life follows a record from its creation to its deletion.
func life(t *testing.T, s *store) {
	ref, other := targets.Ref{Namespace: "bank", ID: "one"}, targets.Ref{Namespace: "bank", ID: "two"}
	want := Target(ref)
	mustBe := func(when string) {
		t.Helper()
		if got := load(t, s, ref); !reflect.DeepEqual(got, want) {
			t.Errorf("%s, there is\n%+v\nwant\n%+v", when, got, want)
		}
	}
	mustNotExist(t, s, ref)
	called := false
	update(t, s, ref, func(current *targets.Target) *targets.Target {
		called = current == nil
		return nil
	})
	if mustNotExist(t, s, ref); !called {
		t.Error("an update of a missing target was not asked for, or got a record")
	}
	given := Target(ref)
	given.Schema++ // which the codec sets
	put(t, s, ref, given)
	put(t, s, other, Target(other))
	mustBe("created")

	for _, record := range []*targets.Target{given, load(t, s, ref)} {
		record.Name, record.Unsure[0], record.Fence.Members[0] = "mine", "mine", "mine"
		clear(record.EncryptionKey)
	}
	mustBe("after the caller's own changes")
	for i := range 3 {
		update(t, s, ref, func(current *targets.Target) *targets.Target {
			if !reflect.DeepEqual(current, want) {
				t.Errorf("change %d got %+v", i, current)
			}
			if i == 0 {
				return current
			}
			next := *current
			next.Modified++
			return &next
		})
		want.Modified += int64(min(i, 1))
		mustBe("changed")
	}
	want.Name = "changed in place"
	change(t, s, ref, func(current *targets.Target) { current.Name = want.Name })
	mustBe("changed in place")

	refusal := errors.New("no")
	for name, spoil := range map[string]func(*targets.Target) error{
		"error of the edit": func(r *targets.Target) error { r.Name = "must not be stored"; return refusal },
		"too long":          func(r *targets.Target) error { r.Name = strings.Repeat("x", targets.MaxRecord); return nil },
		"another id":        func(r *targets.Target) error { r.ID = "two"; return nil },
		"empty fence":       func(r *targets.Target) error { r.Fence = new(targets.Fence); return nil },
		"not valid UTF-8":   func(r *targets.Target) error { r.Name = "\xff"; return nil },
	} {
		err := s.Update(t.Context(), ref, func(current *targets.Target) (*targets.Target, error) { return current, spoil(current) })
		if err == nil || errors.Is(err, targets.ErrNotFound) || (name == "error of the edit") != errors.Is(err, refusal) {
			t.Errorf("%s: storing gave %v", name, err)
		}
		mustBe(name)
	}

	put(t, s, ref, nil)
	mustNotExist(t, s, ref)
	load(t, s, other)
	update(t, s, ref, func(current *targets.Target) *targets.Target {
		if current != nil {
			t.Errorf("a change after the deletion got %+v", current)
		}
		return Target(ref)
	})
	load(t, s, ref)
	put(t, s, ref, nil)
	put(t, s, other, nil)
	for key := range take(t, s.backend) {
		if key.Kind != kv.Marker {
			t.Errorf("left behind: %v", key)
		}
	}
}

func cancelled(t *testing.T, s *store) {
	ref := targets.Ref{ID: "one"}
	put(t, s, ref, Target(ref))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, loadErr := s.Load(ctx, ref)
	_, deviceErr := s.OfDevice(ctx, "", "device-1", "jeff")
	for op, err := range map[string]error{"Load": loadErr, "OfDevice": deviceErr, "Update": s.Update(ctx, ref, To(nil))} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s returned %v, want context.Canceled", op, err)
		}
	}
	load(t, s, ref)
}

func hostileIDs(t *testing.T, s *store) {
	ids := []string{
		"", ".", "..", "../..", "../../..", "a/b", "a", "b", "/", "//", `\`, `..\..`, "\x00", "a\x00b",
		strings.Repeat("x", 10<<10), "Ab", "aB", "ab", "K", "\u212a", "\u00e9", "e\u0301", "*", "?", "{a}", "%2e%2e", "a\r\nb", " ",
	}
	for _, id := range ids {
		ref := targets.Ref{ID: id}
		record := Target(ref)
		record.Name = "name of " + id
		put(t, s, ref, record)
	}
	for _, id := range ids {
		if got := load(t, s, targets.Ref{ID: id}); got.Name != "name of "+id {
			t.Errorf("id %.20q has the record named %.20q", id, got.Name)
		}
	}
	for i, id := range ids {
		put(t, s, targets.Ref{ID: id}, nil)
		mustNotExist(t, s, targets.Ref{ID: id})
		for _, rest := range ids[i+1:] {
			load(t, s, targets.Ref{ID: rest})
		}
	}
}

func namespaces(t *testing.T, s *store) {
	refs := []targets.Ref{{Namespace: "", ID: "ab"}, {Namespace: "a", ID: "b"}, {Namespace: "ab", ID: ""}, {Namespace: "A", ID: "b"}}
	for i, ref := range refs {
		record := Target(ref)
		record.Modified = int64(i)
		put(t, s, ref, record)
	}
	for i, ref := range refs {
		if got := load(t, s, ref); got.Modified != int64(i) {
			t.Errorf("%+v has the record of number %d", ref, got.Modified)
		}
		ids, err := s.OfDevice(t.Context(), ref.Namespace, "device-1", "jeff")
		if err != nil || !slices.Equal(ids, []string{ref.ID}) {
			t.Errorf("the device of namespace %q has %q, error %v", ref.Namespace, ids, err)
		}
	}
	put(t, s, refs[1], nil)
	mustNotExist(t, s, refs[1])
	load(t, s, refs[0])
	load(t, s, refs[2])
	load(t, s, refs[3])
}

package kvtest

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// unreadable tests a store where a record is there and cannot be read: it is
// unavailable, and never overwritten.
func unreadable(t *testing.T, s *store) {
	write := s.write
	good := func(ref targets.Ref) string {
		data, err := targets.Encode(Target(ref), ref)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for name, data := range map[string]func(ref targets.Ref) string{
		"newer release": func(ref targets.Ref) string {
			return strings.Replace(good(ref), `"schema":2`, `"schema":3,"colour":"blue"`, 1)
		},
		"newer, same members": func(ref targets.Ref) string {
			return strings.Replace(good(ref), `"schema":2`, `"schema":3`, 1)
		},
		"newer, demands more": func(ref targets.Ref) string {
			return strings.Replace(good(ref), `"schema":2`, `"schema":4,"min_schema":3`, 1)
		},
		"demands nothing": func(ref targets.Ref) string {
			return strings.Replace(good(ref), `"schema":2`, `"schema":3,"min_schema":0`, 1)
		},
		"demands more than it has": func(ref targets.Ref) string {
			return strings.Replace(good(ref), `"schema":2`, `"schema":0,"min_schema":1`, 1)
		},
		"older, with members of today": func(ref targets.Ref) string {
			return strings.Replace(good(ref), `"schema":2`, `"schema":1,"state":"active"`, 1)
		},
		"members of an older one": func(ref targets.Ref) string {
			return strings.Replace(good(ref), `"schema":2`, `"schema":2,"state":"active"`, 1)
		},
		"one more member": func(ref targets.Ref) string {
			return strings.Replace(good(ref), `"schema":2`, `"schema":2,"colour":"blue"`, 1)
		},
		"older than any":   func(ref targets.Ref) string { return strings.Replace(good(ref), `"schema":2`, `"schema":0`, 1) },
		"empty":            func(targets.Ref) string { return "" },
		"null":             func(targets.Ref) string { return "null" },
		"truncated":        func(ref targets.Ref) string { r := good(ref); return r[:len(r)/2] },
		"something behind": func(ref targets.Ref) string { return good(ref) + "{}" },
		"not JSON":         func(targets.Ref) string { return "\x00\x01\x02" },
		"unknown member":   func(ref targets.Ref) string { return strings.Replace(good(ref), `"name"`, `"Name"`, 1) },
		"duplicate member": func(ref targets.Ref) string { return strings.Replace(good(ref), `{`, `{"id":"x",`, 1) },
		"another target":   func(targets.Ref) string { return good(targets.Ref{ID: "somebody else"}) },
		"another tenant":   func(ref targets.Ref) string { return good(targets.Ref{Namespace: "x", ID: ref.ID}) },
		"no changes": func(ref targets.Ref) string {
			return strings.Replace(good(ref), `"changes":[`, `"changes":[],"x":[`, 1)
		},
		"key alone": func(ref targets.Ref) string { return strings.Replace(good(ref), `"thumbprint-1"`, `""`, 1) },
		"too long":  func(ref targets.Ref) string { return good(ref) + strings.Repeat(" ", targets.MaxRecord) },
	} {
		t.Run(name, func(t *testing.T) {
			ref := targets.Ref{ID: "unreadable: " + name}
			write(ref, []byte(data(ref)))
			mustBeUnavailable(t, s, ref)
			if strings.HasPrefix(name, "newer") {
				mustNotHeal(t, s, ref)
				return
			}
			mustHeal(t, s, ref, Target(ref))
			write(ref, []byte(data(ref)))
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
		Fence:   &targets.Fence{Changes: []targets.FencedChange{{ID: "change-1", Since: at}}, Members: []string{"name"}, Shared: true},
		Unsure:  []string{"target"},
		Expired: "token:1",
	}
}

func roundTrip(t *testing.T, s *store) {
	ref := targets.Ref{Namespace: "bank", ID: "one"}
	want := Target(ref)
	put(t, s, ref, want)
	got := load(t, s, ref)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("loaded\n%+v\nwant\n%+v", got, want)
	}
}

func notFound(t *testing.T, s *store) {
	ref := targets.Ref{ID: "nobody"}
	mustNotExist(t, s, ref)
	called := false
	err := s.Update(t.Context(), ref, func(current *targets.Target) (*targets.Target, error) {
		called = true
		if current != nil {
			t.Errorf("a change of a missing target got %+v", current)
		}
		return nil, nil
	})
	if err != nil || !called {
		t.Errorf("update of a missing target that leaves it missing: called %t, error %v", called, err)
	}
	mustNotExist(t, s, ref)
	ids, err := s.OfDevice(t.Context(), "", "no device", "jeff")
	if err != nil || len(ids) != 0 {
		t.Errorf("an unknown device has targets %q, error %v", ids, err)
	}
}

func updateSeesCurrent(t *testing.T, s *store) {
	ref := targets.Ref{ID: "one"}
	put(t, s, ref, Target(ref))
	for i := range 3 {
		update(t, s, ref, func(current *targets.Target) *targets.Target {
			if want := int64(1<<53 + 1 + i); current == nil || current.Modified != want {
				t.Fatalf("change %d got %+v, want modified %d", i, current, want)
			}
			next := *current
			next.Modified++
			return &next
		})
	}
}

func updateInPlace(t *testing.T, s *store) {
	ref := targets.Ref{ID: "one"}
	put(t, s, ref, Target(ref))
	update(t, s, ref, func(current *targets.Target) *targets.Target {
		current.Name = "changed in place"
		return current
	})
	if got := load(t, s, ref); got.Name != "changed in place" {
		t.Errorf("name is %q", got.Name)
	}
}

func unchanged(t *testing.T, s *store) {
	ref := targets.Ref{ID: "one"}
	put(t, s, ref, Target(ref))
	update(t, s, ref, func(current *targets.Target) *targets.Target { return current })
	if got := load(t, s, ref); !reflect.DeepEqual(got, Target(ref)) {
		t.Errorf("the record changed to %+v", got)
	}
}

func deletion(t *testing.T, s *store) {
	ref, other := targets.Ref{ID: "one"}, targets.Ref{ID: "two"}
	put(t, s, ref, Target(ref))
	put(t, s, other, Target(other))
	update(t, s, ref, func(*targets.Target) *targets.Target { return nil })
	mustNotExist(t, s, ref)
	load(t, s, other)
	update(t, s, ref, func(current *targets.Target) *targets.Target {
		if current != nil {
			t.Errorf("a change after the deletion got %+v", current)
		}
		return Target(ref)
	})
	load(t, s, ref)
}

func changeError(t *testing.T, s *store) {
	ref := targets.Ref{ID: "one"}
	put(t, s, ref, Target(ref))
	refusal := errors.New("no")
	err := s.Update(t.Context(), ref, func(current *targets.Target) (*targets.Target, error) {
		current.Name = "must not be stored"
		return current, refusal
	})
	if !errors.Is(err, refusal) {
		t.Errorf("update returned %v, want the change's error", err)
	}
	if got := load(t, s, ref); !reflect.DeepEqual(got, Target(ref)) {
		t.Errorf("the record changed to %+v", got)
	}
}

func unstorable(t *testing.T, s *store) {
	ref := targets.Ref{ID: "one"}
	put(t, s, ref, Target(ref))
	for name, spoil := range map[string]func(*targets.Target){
		"too long":        func(r *targets.Target) { r.Name = strings.Repeat("x", targets.MaxRecord) },
		"another id":      func(r *targets.Target) { r.ID = "two" },
		"empty fence":     func(r *targets.Target) { r.Fence = new(targets.Fence) },
		"not valid UTF-8": func(r *targets.Target) { r.Name = "\xff" },
	} {
		err := s.Update(t.Context(), ref, func(current *targets.Target) (*targets.Target, error) {
			spoil(current)
			return current, nil
		})
		if err == nil || errors.Is(err, targets.ErrNotFound) {
			t.Errorf("%s: storing gave %v", name, err)
		}
	}
	if got := load(t, s, ref); !reflect.DeepEqual(got, Target(ref)) {
		t.Errorf("the record changed to %+v", got)
	}
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
		update(t, s, targets.Ref{ID: id}, func(*targets.Target) *targets.Target { return nil })
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
	update(t, s, refs[1], func(*targets.Target) *targets.Target { return nil })
	mustNotExist(t, s, refs[1])
	load(t, s, refs[0])
	load(t, s, refs[2])
	load(t, s, refs[3])
}

func loadedIsACopy(t *testing.T, s *store) {
	ref := targets.Ref{ID: "one"}
	given := Target(ref)
	put(t, s, ref, given)
	for _, record := range []*targets.Target{given, load(t, s, ref)} {
		record.Name = "mine"
		record.Unsure[0] = "mine"
		record.Fence.Members[0] = "mine"
		clear(record.EncryptionKey)
	}
	if got := load(t, s, ref); !reflect.DeepEqual(got, Target(ref)) {
		t.Errorf("the stored record changed to %+v", got)
	}
}

func ofDevice(t *testing.T, s *store) {
	refs := []targets.Ref{{ID: "one"}, {ID: "two"}, {ID: "three"}}
	for _, ref := range refs {
		put(t, s, ref, Target(ref))
	}
	mustBeOfDevice(t, s, "device-1", "one", "two", "three")
	update(t, s, refs[0], func(current *targets.Target) *targets.Target {
		current.Name = "the device stays"
		return current
	})
	update(t, s, refs[1], func(current *targets.Target) *targets.Target {
		current.DeviceID = "../device-2"
		return current
	})
	mustBeOfDevice(t, s, "device-1", "one", "three")
	mustBeOfDevice(t, s, "../device-2", "two")
	update(t, s, refs[2], func(*targets.Target) *targets.Target { return nil })
	mustBeOfDevice(t, s, "device-1", "one")
	update(t, s, refs[0], func(current *targets.Target) *targets.Target {
		current.DeviceID = ""
		return current
	})
	mustBeOfDevice(t, s, "device-1")
	update(t, s, refs[1], func(*targets.Target) *targets.Target { return nil })
	mustBeOfDevice(t, s, "../device-2")
}

func schema(t *testing.T, s *store) {
	ref := targets.Ref{ID: "one"}
	record := Target(ref)
	record.Schema = targets.SchemaVersion + 1
	put(t, s, ref, record)
	if got := load(t, s, ref); got.Schema != targets.SchemaVersion {
		t.Errorf("a record was written with schema %d, want %d", got.Schema, targets.SchemaVersion)
	}
}

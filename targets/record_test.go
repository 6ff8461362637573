package targets_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func TestDecode(t *testing.T) {
	data := must(targets.Encode(kvtest.Target(one), one))
	if got, err := targets.Decode(data, one.Hash()); err != nil || got.Ref() != one {
		t.Errorf("decoded %+v, error %v", got, err)
	}
	for name, hash := range map[string]string{"another": targets.Ref{ID: "one"}.Hash(), "none": ""} {
		if got, err := targets.Decode(data, hash); err == nil {
			t.Errorf("%s hash: decoded %+v", name, got)
		}
	}
	for name, data := range map[string]string{
		"damaged":          `{"schema":1`,
		"newer":            `{"schema":4,"namespace":"bank","id":"one"}`,
		"unknown":          `{"schema":2,"namespace":"bank","id":"one","colour":"blue"}`,
		"state of a later": `{"schema":2,"namespace":"bank","id":"one","state":"active"}`,
		"no state":         `{"schema":1,"namespace":"bank","id":"one"}`,
		"unknown state":    `{"schema":1,"namespace":"bank","id":"one","state":"good"}`,
		"settled":          `{"schema":1,"namespace":"bank","id":"one","state":"stale","settled":"stale"}`,
		"fence of a later": `{"schema":1,"namespace":"bank","id":"one","state":"stale","unsure":["name"]}`,
		"blocked before":   `{"schema":2,"namespace":"bank","id":"one","blocked":"2026-11-23T12:00:00Z"}`,
		"blocked long ago": `{"schema":1,"namespace":"bank","id":"one","state":"active","blocked":"2026-11-23T12:00:00Z"}`,
		"not a table":      `[]`,
	} {
		if got, err := targets.Decode([]byte(data), one.Hash()); err == nil {
			t.Errorf("%s: decoded %+v", name, got)
		}
	}
}

// A record of the release before is read as what it meant there.
func TestRecordOfSchema1(t *testing.T) {
	all := []string{"name", "target", "dispatcher", "encryption_key", "signature_key"}
	const mark = `{"id":"m","at":"2026-11-23T12:00:00Z","members":["name"]}`
	fence := func(shared bool, ids ...string) *targets.Fence {
		f := &targets.Fence{Members: []string{"name"}, Shared: shared}
		for _, id := range ids {
			f.Changes = append(f.Changes, targets.FencedChange{ID: id, Since: noon})
		}
		return f
	}
	for members, want := range map[string]targets.Target{
		`"state":"active"`:  {},
		`"state":"expired"`: {GoneAddress: "a"},
		`"state":"stale"`:   {Unsure: all},
		`"state":"stale","settled":"active","doubt":["name"]`:       {Unsure: []string{"name"}},
		`"state":"stale","settled":"expired","doubt":["name"]`:      {Unsure: []string{"name"}, GoneAddress: "a"},
		`"state":"stale","settled":"active","marks":[` + mark + `]`: {Fence: fence(false, "m")},
		`"state":"stale","marks":[` + mark + `,` + mark + `]`:       {Fence: fence(true, "m", "m")},
		`"state":"stale","doubt":["target"],"marks":[` + mark + `]`: {Fence: fence(false, "m"), Unsure: []string{"target"}},
		`"state":"active","name":"x","modified":7,"dispatcher":"d"`: {Name: "x", Modified: 7, Dispatcher: "d"},
	} {
		text := fmt.Sprintf(`{"schema":1,"namespace":"bank","id":"one","source":"create","created":"2026-11-23T12:00:00Z","updated":"2026-11-23T12:00:00Z","target":"a",%s}`, members)
		want.Schema, want.Namespace, want.ID, want.Source, want.Address = 2, "bank", "one", "create", "a"
		want.Created, want.Updated = noon, noon
		got, err := targets.Decode([]byte(text), one.Hash())
		if err != nil || !reflect.DeepEqual(got, &want) {
			t.Errorf("%s: read %+v, error %v", members, got, err)
			continue
		}
		if again := string(must(targets.Encode(got, one))); strings.Contains(again, `"state"`) || !strings.Contains(again, `"schema":2`) {
			t.Errorf("%s: written as %s", members, again)
		}
	}
}

// What a process of the release before has begun is still under way here.
func TestChangeOfSchema1IsUnderWay(t *testing.T) {
	f := learned(t)
	f.rewrite(t, `"schema":2`, `"schema":1,"state":"stale","settled":"active","marks":[{"id":"m","at":"2026-11-23T12:00:00Z","members":["encryption_key"]}]`)
	f.modify(t, f.jws(newKey(2)), 204)
	f.mustState(t, targets.Stale)
	f.now = f.now.Add(2 * targets.ChangeTime)
	f.modify(t, f.jws(map[string]any{"name": "x"}), 204)
	f.mustState(t, targets.Stale)
	f.modify(t, f.jws(newKey(2)), 204)
	f.mustState(t, targets.Active)
}

// Quarantine is about an address.
func TestQuarantined(t *testing.T) {
	target := targets.Target{Address: "a", GoneAddress: "a"}
	if target.State() != targets.Expired || !target.Quarantined("a") || target.Quarantined("b") {
		t.Errorf("the target is %s", target.State())
	}
	target.Address = "b"
	if target.State() != targets.Active {
		t.Errorf("with another address the target is %s", target.State())
	}
	if new(targets.Target).Quarantined("") {
		t.Error("no address is in quarantine")
	}
}

func TestRecordsHaveNoTimeZone(t *testing.T) {
	f := newFixture()
	f.Now = func() time.Time { return noon.In(time.FixedZone("", 3600)) }
	f.learn(t, nil)
	if data := string(f.store.Dump()); !strings.Contains(data, `"created":"2026-11-23T12:00:00Z"`) {
		t.Errorf("stored %s", data)
	}
}

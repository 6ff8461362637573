package kvtest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	strict "github.com/go-json-experiment/json"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

// later is the record as a release after this one may write it: a member more,
// which is good to have and no more than that.
type later struct {
	*targets.Target
	Schema    int             `json:"schema"`
	MinSchema int             `json:"min_schema,omitempty"`
	Colours   json.RawMessage `json:"colours,omitempty"`
}

const laterSchema = targets.SchemaVersion + 1

// encodeLater is the later release's codec.
func encodeLater(t *testing.T, record *targets.Target, colours string) []byte {
	t.Helper()
	data, err := strict.Marshal(later{
		Target: record, Schema: laterSchema, MinSchema: targets.SchemaVersion, Colours: json.RawMessage(colours),
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func decodeLater(t *testing.T, data []byte) later {
	t.Helper()
	r := later{Target: new(targets.Target)}
	if err := strict.Unmarshal(data, &r, strict.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("the later release cannot read the record: %v in %s", err, data)
	}
	return r
}

// versions tests a store that two releases use.
func versions(t *testing.T, s *store) {
	const colours = `{"screen":["blue",1.50,null]}`
	ref := targets.Ref{Namespace: "bank", ID: "one"}
	t.Run("the later one's record", func(t *testing.T) {
		s.write(ref, encodeLater(t, Target(ref), colours))
		got := load(t, s, ref)
		want := Target(ref)
		if got.Schema != laterSchema || got.MinSchema != targets.SchemaVersion || got.Thumbprint != want.Thumbprint ||
			got.Address != want.Address || !reflect.DeepEqual(got.Fence, want.Fence) || got.State() != want.State() {
			t.Errorf("loaded %+v", got)
		}
	})
	t.Run("changed by this one", func(t *testing.T) {
		for i := range 3 {
			name := fmt.Sprint("name ", i)
			update(t, s, ref, func(current *targets.Target) *targets.Target {
				current.Name = name
				return current
			})
			r := decodeLater(t, s.read(ref))
			if r.Name != name || string(r.Colours) != colours || r.Schema != laterSchema || r.MinSchema != targets.SchemaVersion {
				t.Errorf("the later release reads %s", s.read(ref))
			}
		}
	})
	t.Run("replaced by this one", func(t *testing.T) {
		put(t, s, ref, Target(ref))
		r := decodeLater(t, s.read(ref))
		if r.Colours != nil || r.Schema != targets.SchemaVersion || r.MinSchema != 0 {
			t.Errorf("the later release reads %s", s.read(ref))
		}
		if got := load(t, s, ref); !reflect.DeepEqual(got, Target(ref)) {
			t.Errorf("loaded %+v", got)
		}
	})
}

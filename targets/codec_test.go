package targets_test

import (
	"testing"

	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/storetest"
)

func TestDecodeHash(t *testing.T) {
	ref := targets.Ref{Namespace: "bank", ID: "one"}
	data, err := targets.Encode(storetest.Target(ref), ref)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := targets.DecodeHash(data, ref.Hash()); err != nil || got.Ref() != ref {
		t.Errorf("decoded %+v, error %v", got, err)
	}
	for name, hash := range map[string]string{"another": targets.Ref{ID: "one"}.Hash(), "none": ""} {
		if got, err := targets.DecodeHash(data, hash); err == nil {
			t.Errorf("%s hash: decoded %+v", name, got)
		}
	}
	for name, data := range map[string]string{
		"damaged":     `{"schema":1`,
		"newer":       `{"schema":2,"namespace":"bank","id":"one","source":"","created":"0001-01-01T00:00:00Z","updated":"0001-01-01T00:00:00Z","state":"active"}`,
		"no state":    `{"schema":1,"namespace":"bank","id":"one","source":"","created":"0001-01-01T00:00:00Z","updated":"0001-01-01T00:00:00Z","state":""}`,
		"unknown":     `{"schema":1,"namespace":"bank","id":"one","state":"active","colour":"blue"}`,
		"not a table": `[]`,
	} {
		if got, err := targets.DecodeHash([]byte(data), ref.Hash()); err == nil {
			t.Errorf("%s: decoded %+v", name, got)
		}
	}
}

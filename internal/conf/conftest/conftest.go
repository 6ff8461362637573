// Package conftest reads lines of a Caddyfile for the tests of modules.
package conftest

import (
	"encoding/json"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Unmarshal reads a line such as "store redis redis://127.0.0.1", with its block.
// The second word is the name of a module in a namespace.
func Unmarshal(namespace, line string) (caddyfile.Unmarshaler, error) {
	d := caddyfile.NewTestDispenser(line)
	d.Next()
	d.NextArg()
	return caddyfile.UnmarshalModule(d, namespace+"."+d.Val())
}

// WantJSON reads lines as Unmarshal does, and compares what the modules are as JSON.
func WantJSON(t *testing.T, namespace string, lines map[string]string) {
	t.Helper()
	for line, want := range lines {
		module, err := Unmarshal(namespace, line)
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		if got, err := json.Marshal(module); err != nil || string(got) != want {
			t.Errorf("%q gave %s, error %v, want %s", line, got, err, want)
		}
	}
}

package filesource

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

func parseCaddyfile(input string) (*Source, error) {
	d := caddyfile.NewTestDispenser(input)
	d.Next() // key_source
	d.NextArg()
	module, err := caddyfile.UnmarshalModule(d, targets.KeySourceNamespace+"."+d.Val())
	if err != nil {
		return nil, err
	}
	return module.(*Source), nil
}

func TestCaddyfile(t *testing.T) {
	for _, input := range []string{"key_source file /a/b", "key_source file /a/b {\n}"} {
		if s, err := parseCaddyfile(input); err != nil || s.Path != "/a/b" {
			t.Errorf("%q gave %+v, error %v", input, s, err)
		}
	}
	for input, want := range map[string]string{
		"key_source file":                   "takes one argument",
		`key_source file ""`:                "takes one argument",
		"key_source file /a /b":             "takes one argument",
		"key_source file /a {\nwatch\n}":    "unrecognized option 'watch'",
		"key_source file /a {\npath /b\n}":  "unrecognized option 'path'",
		"key_source file {\npath /a/b\n}\n": "takes one argument",
	} {
		if _, err := parseCaddyfile(input); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Testfile:") {
			t.Errorf("%q gave error %v, want one with a line number and %q", input, err, want)
		}
	}
}

package redisstore

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/targets"
)

func parseConfig(input string) (*Store, error) {
	d := caddyfile.NewTestDispenser(input)
	d.Next() // store
	d.NextArg()
	module, err := caddyfile.UnmarshalModule(d, targets.StoreNamespace+"."+d.Val())
	if err != nil {
		return nil, err
	}
	return module.(*Store), nil
}

func TestCaddyfile(t *testing.T) {
	for input, want := range map[string]string{
		"store redis redis://a":         `{"addresses":["redis://a"]}`,
		"store redis unix:///a {\n}":    `{"addresses":["unix:///a"]}`,
		"store redis {env.OOB_REDIS}":   `{"addresses":["{env.OOB_REDIS}"]}`,
		"store redis a b {\ncluster\n}": `{"addresses":["a","b"],"cluster":true}`,
		"store redis a {\nusername u\npassword {file./p}\nkey_prefix x:\ntimeout 500ms\n}": `{"addresses":["a"],"username":"u","password":"{file./p}","key_prefix":"x:","timeout":500000000}`,
		"store redis a {\nsentinel_master m\nsentinel_username u\nsentinel_password p\n}":  `{"addresses":["a"],"sentinel_master":"m","sentinel_username":"u","sentinel_password":"p"}`,
		"store redis a {\nca /ca\nclient_cert /c /k\nserver_name n\n}":                     `{"addresses":["a"],"ca":"/ca","client_cert":{"cert":"/c","key":"/k"},"server_name":"n"}`,
		"store redis a {\nseal /a /b\naccept_unsealed\n}":                                  `{"addresses":["a"],"seal":["/a","/b"],"accept_unsealed":true}`,
	} {
		s, err := parseConfig(input)
		if err != nil {
			t.Errorf("%q: %v", input, err)
			continue
		}
		got, err := json.Marshal(s)
		if err != nil || string(got) != want {
			t.Errorf("%q gave %s, error %v, want %s", input, got, err, want)
		}
	}
}

func TestCaddyfileRefuses(t *testing.T) {
	for input, want := range map[string]string{
		"store redis":                         "needs an address",
		"store redis {\n}":                    "needs an address",
		"host canary":                         "unrecognized option 'host'",
		"password":                            "takes one argument",
		`password ""`:                         "takes one argument",
		"password canary canary":              "takes one argument",
		"password canary\npassword canary":    "given twice",
		"cluster yes":                         "takes no argument",
		"cluster\ncluster":                    "given twice",
		"client_cert canary":                  "takes two arguments",
		"client_cert /a /b\nclient_cert /a/b": "given twice",
		"timeout canary":                      "duration above zero",
		"timeout 0s":                          "duration above zero",
		"timeout 1s\ntimeout 1s":              "given twice",
		"seal":                                "needs the file of a key",
		"accept_unsealed canary":              "takes no argument",
	} {
		if !strings.HasPrefix(input, "store") {
			input = "store redis a {\n" + input + "\n}"
		}
		_, err := parseConfig(input)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "Testfile:") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q gave error %v, want one with a line number and %q", input, err, want)
		}
	}
}

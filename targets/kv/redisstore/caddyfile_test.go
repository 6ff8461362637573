package redisstore

import (
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/conf/conftest"
	"github.com/oob-dispatch/oob-dispatch/targets"
	"github.com/oob-dispatch/oob-dispatch/targets/kv/kvtest"
)

func TestOptions(t *testing.T) { kvtest.Options(t, "store redis redis://localhost") }

func TestCaddyfile(t *testing.T) {
	conftest.WantJSON(t, targets.StoreNamespace, map[string]string{
		"store redis redis://a":                         `{"addresses":["redis://a"]}`,
		"store redis unix:///a {\n}":                    `{"addresses":["unix:///a"]}`,
		"store redis {env.OOB_REDIS}":                   `{"addresses":["{env.OOB_REDIS}"]}`,
		"store redis redis://a redis://b {\ncluster\n}": `{"addresses":["redis://a","redis://b"],"cluster":true}`,
		"store redis redis://a {\nusername u\npassword {file./p}\nkey_prefix x:\ntimeout 500ms\n}": `{"addresses":["redis://a"],"username":"u","password":"{file./p}","key_prefix":"x:","timeout":500000000}`,
		"store redis redis://a {\nsentinel_master m\nsentinel_username u\nsentinel_password p\n}":  `{"addresses":["redis://a"],"sentinel_master":"m","sentinel_username":"u","sentinel_password":"p"}`,
		"store redis rediss://a {\nca /ca\nclient_cert /c /k\nserver_name n\n}":                    `{"addresses":["rediss://a"],"ca":"/ca","client_cert":{"cert":"/c","key":"/k"},"server_name":"n"}`,
	})
}

func TestCaddyfileRefuses(t *testing.T) {
	for _, input := range []string{
		"store redis", "store redis {\n}", "store redis redis://a redis://b", "store redis canary", "store redis redis://a:canary@b",
		"host canary", "password", `password ""`, "password canary canary", "password canary\npassword canary",
		"cluster yes", "cluster\ncluster", "client_cert canary", "client_cert /a /b\nclient_cert /a/b",
		"username canary", "sentinel_password canary",
		"cluster\nsentinel_master x", "key_prefix canary*", "ca /ca", "server_name {canary",
	} {
		if !strings.HasPrefix(input, "store") {
			input = "store redis redis://a {\n" + input + "\n}"
		}
		_, err := conftest.Unmarshal(targets.StoreNamespace, input)
		if err == nil || !strings.Contains(err.Error(), "Testfile:") || strings.Contains(err.Error(), "canary") && !strings.Contains(input, "server_name") {
			t.Errorf("%q gave error %v, want one with a line number that quotes nothing", input, err)
		}
	}
}

package caddymodule

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"go.uber.org/goleak"

	"github.com/oob-dispatch/oob-dispatch/simulator/google"
)

// configOf returns a Caddy configuration whose only handler is the given one.
func configOf(t *testing.T, handler string) *caddy.Config {
	t.Helper()
	root, err := json.Marshal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{
		"admin": {"disabled": true, "config": {"persist": false}},
		"logging": {"logs": {"default": {"writer": {"output": "discard"}}}},
		"storage": {"module": "file_system", "root": %s},
		"apps": {"http": {"servers": {"s": {"listen": ["127.0.0.1:0"], "routes": [{"handle": [%s]}]}}}}
	}`, root, handler)
	config := new(caddy.Config)
	if err := json.Unmarshal([]byte(text), config); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return config
}

func validate(t *testing.T, handler string) error {
	t.Helper()
	return caddy.Validate(configOf(t, handler))
}

// handlerWith returns a handler with a link and further members.
func handlerWith(members string) string {
	return `{"handler": "oob_dispatch", "dispatchers": [{"name": "link", "dispatcher": {"type": "link"}}]` + members + `}`
}

func dispatcherWith(members string) string {
	return `{"handler": "oob_dispatch", "dispatchers": [{"name": "d", "dispatcher": {"type": "link"}` + members + `}]}`
}

// credentials writes the key file of a service account.
func credentials(t *testing.T) string {
	t.Helper()
	s, err := google.Start(google.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	path := filepath.Join(t.TempDir(), "firebase.json")
	writeFile(t, path, string(s.ServiceAccountJSON()))
	return path
}

// invalid is a handler that no server loads, and part of what the error says.
type invalid struct{ name, handler, want string }

func wantInvalid(t *testing.T, all []invalid) {
	t.Helper()
	for _, tt := range all {
		t.Run(tt.name, func(t *testing.T) {
			if err := validate(t, tt.handler); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v\nwant %s", err, tt.want)
			}
		})
	}
}

func fcmWith(members string) string {
	return `{"handler": "oob_dispatch", "dispatchers": [{"name": "push", "dispatcher": {"type": "fcm"` + members + `}}]}`
}

func TestProvisionAccepts(t *testing.T) {
	t.Setenv("OOB_TEST_HOST", "fido.example.com")
	path := credentials(t)
	for name, handler := range map[string]string{
		"nothing":            `{"handler": "oob_dispatch"}`,
		"the least":          handlerWith(``),
		"redeem_url":         handlerWith(`, "redeem_url": "https://{env.OOB_TEST_HOST}/nevisfido/token/redeem/"`),
		"base_path":          handlerWith(`, "base_path": "/"`),
		"largest max_body":   handlerWith(`, "max_body": 524288`),
		"smallest max_body":  handlerWith(`, "max_body": 1024`),
		"visual_code":        handlerWith(`, "visual_code": 8`),
		"durations as text":  handlerWith(`, "deadline": "8s", "token_lifetime": {"registration": "1d"}`),
		"upstream_timeout":   handlerWith(`, "upstream_timeout": "1m"`),
		"limits":             handlerWith(`, "limits": [{"scope": "client", "n": 10000, "window": "1h"}]`),
		"limits_off":         handlerWith(`, "limits_off": true`),
		"store":              handlerWith(`, "store": {"type": "caddy", "timeout": "1s"}`),
		"base_url":           dispatcherWith(`, "base_url": "https://{env.OOB_TEST_HOST}/open?a=b"`),
		"app scheme":         dispatcherWith(`, "base_url": "nevisaccess://x-callback-url/authenticate"`),
		"clear":              dispatcherWith(`, "encryption": "off"`),
		"no retries":         dispatcherWith(`, "retries": 0`),
		"fcm":                fcmWith(fmt.Sprintf(`, "credentials": %q, "endpoint": "http://127.0.0.1:1"`, path)),
		"project of the key": fcmWith(fmt.Sprintf(`, "credentials": %q, "project": "oob-demo"`, path)),
	} {
		if err := validate(t, handler); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProvisionRefuses(t *testing.T) {
	path := credentials(t)
	writable := filepath.Join(t.TempDir(), "writable.json")
	writeFile(t, writable, "{}")
	if err := os.Chmod(writable, 0o666); err != nil {
		t.Fatal(err)
	}
	wantInvalid(t, []invalid{
		{"unknown field", handlerWith(`, "dispatcher_timeout": "5s"`), `unknown field "dispatcher_timeout"`},
		{"unknown field of a dispatcher", dispatcherWith(`, "retry": 2`), `unknown field "retry"`},
		{"unknown field of a type", `{"handler": "oob_dispatch", "dispatchers": [{"name": "d", "dispatcher": {"type": "link", "size": 1}}]}`, `unknown field "size"`},
		{"unknown field of a limit", handlerWith(`, "limits": [{"scope": "target", "n": 1, "window": "1m", "burst": 3}]`), `unknown field "burst"`},
		{"unknown field of the store", handlerWith(`, "store": {"type": "caddy", "path": "/x"}`), `unknown field "path"`},
		{"wrong type of a value", handlerWith(`, "max_body": "64KiB"`), "max_body"},

		{"on_expired with an address", handlerWith(`, "on_expired": {"address": "x", "dispatcher": {"type": "webhook", "url": "https://a.example"}}`), "on_expired: address, base_url"},
		{"on_expired that needs an address", handlerWith(`, "on_expired": {"dispatcher": {"type": "fcm", "credentials": ` + strconv.Quote(path) + `}}`), "on_expired: it takes a dispatcher that needs no address"},
		{"base_path with dot segments", handlerWith(`, "base_path": "/a/../nevisfido"`), "plain absolute path"},
		{"encoded base_path", handlerWith(`, "base_path": "/nevis%66ido"`), "plain absolute path"},
		{"redeem_url unset variable", handlerWith(`, "redeem_url": "https://{env.OOB_TEST_UNSET}/r"`), "redeem_url: it holds a placeholder"},
		{"token_lifetime operation", handlerWith(`, "token_lifetime": {"login": "2m"}`), "name registration, authentication or deregistration"},
		{"token_lifetime zero", handlerWith(`, "token_lifetime": {"registration": 0}`), "token_lifetime"},
		{"limit scope", handlerWith(`, "limits": [{"scope": "ip", "n": 1, "window": "1m"}]`), `limit "ip": it counts per target, user or client`},
		{"limit window", handlerWith(`, "limits": [{"scope": "target", "n": 1}]`), "limit target: the window"},
		{"unknown store", handlerWith(`, "store": {"type": "pigeon"}`), "loading the store"},
		{"store timeout", handlerWith(`, "store": {"type": "caddy", "timeout": -1}`), "timeout takes a duration longer than zero"},
		{"store without type", handlerWith(`, "store": {}`), "loading the store"},

		{"dispatcher without a name", `{"handler": "oob_dispatch", "dispatchers": [{"dispatcher": {"type": "link"}}]}`, "a name has 1 to 64 letters"},
		{"dispatcher without a type", `{"handler": "oob_dispatch", "dispatchers": [{"name": "d"}]}`, `dispatcher "d": it has no dispatcher module; name its type`},
		{"unknown type", `{"handler": "oob_dispatch", "dispatchers": [{"name": "d", "dispatcher": {"type": "pigeon"}}]}`, `dispatcher "d"`},
		{"same name twice", `{"handler": "oob_dispatch", "dispatchers": [{"name": "d", "dispatcher": {"type": "link"}}, {"name": "d", "dispatcher": {"type": "link"}}]}`, `dispatcher "d": it is configured twice`},
		{"base_url unset variable", dispatcherWith(`, "base_url": "{env.OOB_TEST_UNSET}"`), "base_url: it holds a placeholder"},

		{"fcm without credentials", fcmWith(``), "credentials <path> of a service account's key file is needed, or application_default"},
		{"fcm with both", fcmWith(fmt.Sprintf(`, "credentials": %q, "application_default": true`, path)), "exclude each other"},
		{"fcm missing file", fcmWith(`, "credentials": "/nonexistent/firebase.json"`), "credentials: there is no file /nonexistent/firebase.json"},
		{"fcm unset variable", fcmWith(`, "credentials": "{env.OOB_TEST_UNSET}"`), "credentials: it holds a placeholder without a value: the environment variable OOB_TEST_UNSET"},
		{"fcm writable file", fcmWith(fmt.Sprintf(`, "credentials": %q`, writable)), "run chmod go-w on it"},
		{"fcm other project", fcmWith(fmt.Sprintf(`, "credentials": %q, "project": "another"`, path)), "its project_id differs from the project that is configured"},
		{"fcm literal credentials", fcmWith(`, "credentials": "{\"type\":\"service_account\"}"`), "credentials: it takes the path of a file, and this is the content of one"},
	})
}

// What a failed Provision took is given back, and nothing goes on running.
func TestProvisionAndCleanupLeaveNothing(t *testing.T) {
	path := credentials(t)
	good := fmt.Sprintf(`{"handler": "oob_dispatch", "dispatchers": [
		{"name": "push", "dispatcher": {"type": "fcm", "credentials": %q}},
		{"name": "qr", "dispatcher": {"type": "qr_code"}},
		{"name": "link", "dispatcher": {"type": "link"}}]}`, path)
	// The first dispatcher is provisioned, the second fails.
	bad := strings.Replace(good, `"qr_code"`, `"qr_code", "size": 5`, 1)
	// The handler is provisioned, a later one fails.
	late := good + `, {"handler": "no_such_handler"}`
	for range 2 { // whatever Caddy keeps from its first configuration
		if err := validate(t, good); err != nil {
			t.Fatal(err)
		}
	}
	before := goleak.IgnoreCurrent()
	for range 10 {
		if err := validate(t, good); err != nil {
			t.Fatal(err)
		}
		if err := validate(t, bad); err == nil {
			t.Fatal("a bad configuration was accepted")
		}
		if err := validate(t, late); err == nil {
			t.Fatal("a bad configuration was accepted")
		}
	}
	if n, held := limiters.References("|" + defaultBasePath); held {
		t.Errorf("the limiter is still held %d times", n)
	}
	goleak.VerifyNone(t, before)
}

func TestCleanupWithoutProvision(t *testing.T) {
	h := new(Handler)
	for range 2 {
		if err := h.Cleanup(); err != nil {
			t.Error(err)
		}
	}
}

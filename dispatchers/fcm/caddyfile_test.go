package fcm

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
)

func TestCaddyfile(t *testing.T) {
	tests := []struct {
		name, input string
		want        Dispatcher
	}{
		{"least", `fcm {
			credentials /etc/oob/fcm.json
		}`, Dispatcher{Credentials: "/etc/oob/fcm.json"}},
		{"no block", `fcm`, Dispatcher{}},
		{"all", `fcm {
			credentials {env.FCM_CREDENTIALS}
			project my-bank
			endpoint https://fcm.example.com
			dry_run
			ttl 90s
			title "Login at {http.request.host}"
			body {oob.notification.body}
			keep_unregistered
			proxy http://user:pass@proxy.example.com:3128
			ca /etc/oob/ca.pem
			client_cert /etc/oob/cert.pem /etc/oob/key.pem
		}`, Dispatcher{
			Credentials: "{env.FCM_CREDENTIALS}", Project: "my-bank", Endpoint: "https://fcm.example.com",
			DryRun: true, TTL: caddy.Duration(90 * time.Second),
			Title: "Login at {http.request.host}", Body: "{oob.notification.body}", KeepUnregistered: true,
			Options: httpclient.Options{
				Proxy: "http://user:pass@proxy.example.com:3128", CA: "/etc/oob/ca.pem",
				ClientCert: &httpclient.ClientCert{Cert: "/etc/oob/cert.pem", Key: "/etc/oob/key.pem"},
			},
		}},
		{"application default", `fcm {
			application_default
			project my-bank
		}`, Dispatcher{ApplicationDefault: true, Project: "my-bank"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got Dispatcher
			if err := got.UnmarshalCaddyfile(caddyfile.NewTestDispenser(tt.input)); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestCaddyfileRefuses(t *testing.T) {
	tests := []struct{ name, input, want string }{
		{"argument of the type", "fcm push {\n}", "no arguments"},
		{"unknown option", "fcm {\n credential x\n}", "unrecognized option 'credential'"},
		{"option without argument", "fcm {\n credentials\n}", "credentials takes exactly one argument"},
		{"empty argument", "fcm {\n credentials \"\"\n}", "credentials takes exactly one argument"},
		{"superfluous argument", "fcm {\n project a b\n}", "project takes exactly one argument"},
		{"title without quotes", "fcm {\n title Please confirm\n}", "quote one that has spaces"},
		{"superfluous block", "fcm {\n dry_run {\n }\n}", "unrecognized option '{'"},
		{"given twice", "fcm {\n body a\n body b\n}", "body is given twice"},
		{"flag given twice", "fcm {\n dry_run\n dry_run\n}", "dry_run is given twice"},
		{"flag with argument", "fcm {\n keep_unregistered yes\n}", "keep_unregistered takes no arguments"},
		{"application_default with a path", "fcm {\n application_default /x\n}", "application_default takes no arguments"},
		{"ttl without unit", "fcm {\n ttl 60\n}", "duration"},
		{"ttl zero", "fcm {\n ttl 0s\n}", "duration"},
		{"ttl too long", "fcm {\n ttl 29d\n}", "28d"},
		{"ttl twice", "fcm {\n ttl 1m\n ttl 2m\n}", "ttl is given twice"},
		{"proxy without argument", "fcm {\n proxy\n}", "proxy takes one argument"},
		{"proxy superfluous", "fcm {\n proxy http://u:canary@h canary\n}", "proxy takes one argument"},
		{"proxy twice", "fcm {\n proxy http://u:canary@h\n proxy http://u:canary@h\n}", "proxy is given twice"},
		{"ca twice", "fcm {\n ca a\n ca b\n}", "ca is given twice"},
		{"client_cert without key", "fcm {\n client_cert a\n}", "client_cert takes two arguments"},
		{"client_cert twice", "fcm {\n client_cert a b\n client_cert a b\n}", "client_cert is given twice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := new(Dispatcher).UnmarshalCaddyfile(caddyfile.NewTestDispenser(tt.input))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an error with %q", err, tt.want)
			}
			if !strings.Contains(err.Error(), "Testfile:") {
				t.Errorf("the error %q does not name the line", err)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error %q quotes a secret", err)
			}
		})
	}
}

func TestOptionsAtLoad(t *testing.T) {
	s := startGoogle(t, google.Options{})
	good := credentialsFile(t, s)
	open := filepath.Join(t.TempDir(), "open.json")
	if err := os.WriteFile(open, s.ServiceAccountJSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o666); err != nil { // past the umask
		t.Fatal(err)
	}
	t.Setenv("FCM_FILE", good)
	t.Setenv("FCM_EMPTY", "")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	tests := []struct {
		name    string
		options map[string]any // beside credentials
		want    string         // "" if it loads
	}{
		{"defaults", nil, ""},
		{"placeholder", map[string]any{"credentials": "{env.FCM_FILE}"}, ""},
		{"same project", map[string]any{"project": s.Project()}, ""},
		{"endpoint with slash", map[string]any{"endpoint": "https://fcm.example.com/"}, ""},
		{"JSON template", map[string]any{"title": `{"a":"{oob.name}"}`}, ""},
		{"no credentials", map[string]any{"credentials": ""}, "credentials <path>"},
		{"both kinds", map[string]any{"application_default": true}, "exclude each other"},
		{"missing file", map[string]any{"credentials": "/nonexistent/fcm.json"}, "credentials: there is no file /nonexistent/fcm.json"},
		{"folder", map[string]any{"credentials": filepath.Dir(good)}, "not a regular file"},
		{"writable by others", map[string]any{"credentials": open}, "chmod go-w"},
		{"empty placeholder", map[string]any{"credentials": "{env.FCM_EMPTY}"}, "credentials: "},
		{"unknown placeholder", map[string]any{"credentials": "{nonsense}"}, "credentials: "},
		{"another project", map[string]any{"project": "another"}, "project_id"},
		{"project as a path", map[string]any{"credentials": "", "application_default": true, "project": "../x"}, "project: "},
		{"cloud without project", map[string]any{"credentials": "", "application_default": true}, "project <id>"},
		{"endpoint in clear", map[string]any{"endpoint": "http://fcm.example.com"}, "endpoint: the URL must be https"},
		{"endpoint with path", map[string]any{"endpoint": "https://fcm.example.com/v1"}, "endpoint: it must be scheme://host"},
		{"endpoint without scheme", map[string]any{"endpoint": "fcm.googleapis.com"}, "endpoint: "},
		{"endpoint with user", map[string]any{"endpoint": "https://canary@fcm.example.com"}, "endpoint: "},
		{"negative ttl", map[string]any{"ttl": -1}, "ttl: "},
		{"ttl too long", map[string]any{"ttl": int64(29 * 24 * time.Hour)}, "ttl: "},
		{"unknown placeholder in title", map[string]any{"title": "{oob.token}"}, "title: unknown placeholder"},
		{"unknown placeholder in body", map[string]any{"body": "{oob.data.}"}, "body: unknown placeholder"},
		{"proxy of another kind", map[string]any{"proxy": "socks5://u:canary@proxy.example.com"}, "proxy: "},
		{"proxy that is none", map[string]any{"proxy": "http://u:can%ary@h"}, "proxy: "},
		{"missing ca", map[string]any{"ca": "/nonexistent/ca.pem"}, "ca: there is no file"},
		{"ca without certificate", map[string]any{"ca": good}, "ca: "},
		{"half a client certificate", map[string]any{"client_cert": map[string]string{"cert": good}}, "client_cert"},
		{"unknown JSON field", map[string]any{"insecure_skip_verify": true}, "insecure_skip_verify"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			options := map[string]any{"credentials": good}
			maps.Copy(options, tt.options)
			f, err := load(t, options)
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Fatalf("got %v, want an error with %q", err, tt.want)
			case err != nil && strings.Contains(err.Error(), "canary"):
				t.Errorf("the error %q quotes a secret", err)
			case err == nil && f.Traits().BuiltIn != nevisfido.BuiltInFCM:
				t.Errorf("traits %+v", f.Traits())
			}
		})
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("loading made %d requests", n)
	}
}

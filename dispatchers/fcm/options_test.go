package fcm

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/nevisfido"
	"github.com/oob-dispatch/oob-dispatch/simulator/google"
)

// What conf checks, and with it a Caddyfile, is in caddymodule.TestRefusedValues.
func TestOptionsAtLoad(t *testing.T) {
	s := startGoogle(t, google.Options{})
	good := credentialsFile(t, s)
	t.Setenv("FCM_FILE", good)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	tests := []struct {
		name    string
		options map[string]any // in addition to credentials
		want    string         // "" if it loads
	}{
		{"defaults", nil, ""},
		{"placeholder", map[string]any{"credentials": "{env.FCM_FILE}"}, ""},
		{"same project", map[string]any{"project": s.Project()}, ""},
		{"endpoint with slash", map[string]any{"endpoint": "https://fcm.example.com/"}, ""},
		{"JSON template", map[string]any{"title": `{"a":"{oob.name}"}`}, ""},
		{"missing file", map[string]any{"credentials": "/nonexistent/fcm.json"}, "credentials: there is no file /nonexistent/fcm.json"},
		{"another project", map[string]any{"project": "another"}, "project_id"},
		{"cloud without project", map[string]any{"credentials": "", "application_default": true}, "project <id>"},
		{"missing ca", map[string]any{"ca": "/nonexistent/ca.pem"}, "ca: there is no file"},
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

func TestServiceAccountFile(t *testing.T) {
	s := startGoogle(t, google.Options{})
	change := func(name, value string) []byte {
		members := map[string]string{}
		if err := json.Unmarshal(s.ServiceAccountJSON(), &members); err != nil {
			t.Fatal(err)
		}
		members[name] = value
		out, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	tests := []struct {
		name    string
		content []byte
		project string
		want    string // "" for a file that is good
	}{
		{"as Google gives it", s.ServiceAccountJSON(), "", ""},
		{"project given as well", s.ServiceAccountJSON(), s.Project(), ""},
		{"project in the configuration only", change("project_id", ""), "other", ""},
		{"default token URI", change("token_uri", ""), "", ""},
		{"another project", s.ServiceAccountJSON(), "other", "project_id"},
		{"no project", change("project_id", ""), "", "project"},
		{"empty", nil, "", "JSON"},
		{"not JSON", []byte("canary"), "", "JSON"},
		{"user's credentials", change("type", "authorized_user"), "", "service_account"},
		{"federated credentials", change("type", "external_account"), "", "service_account"},
		{"impersonation", change("type", "impersonated_service_account"), "", "service_account"},
		{"no type", change("type", ""), "", "service_account"},
		{"no address", change("client_email", ""), "", "service account"},
		{"no key", change("private_key", "canary"), "", "private_key"},
		{"broken key", change("private_key", "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n"), "", "private_key"},
		{"token URI in clear", change("token_uri", "http://canary.example.com/token"), "", "token_uri"},
		{"token URI that is none", change("token_uri", "canary"), "", "token_uri"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseServiceAccount(tt.content, tt.project, nil)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error about %s", err, tt.want)
			case err != nil && strings.Contains(err.Error(), "canary"):
				t.Errorf("the error %q quotes the file", err)
			}
		})
	}
}

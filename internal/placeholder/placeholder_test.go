package placeholder

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newLogger() (*slog.Logger, *bytes.Buffer) {
	out := new(bytes.Buffer)
	return slog.New(slog.NewTextHandler(out, nil)), out
}

func TestResolve(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OOB_SET", "value")
	t.Setenv("OOB_EMPTY", "")
	tests := []struct {
		name, text, want string
		warns            bool
		fails            string // part of the error
	}{
		{"environment", "{env.OOB_SET}", "value", false, ""},
		{"file", "{file." + path + "}", "from file", false, ""},
		{"in a text", "user:{env.OOB_SET}@host", "user:value@host", false, ""},
		{"literal", "canary", "canary", true, ""},
		{"literal with a brace", "cana{ry", "cana{ry", true, ""},
		{"empty", "", "", false, "empty"},
		{"unset", "canary{env.OOB_SET}{env.OOB_UNSET}", "", false, "variable OOB_UNSET"},
		{"set to nothing", "{env.OOB_EMPTY}", "", false, "variable OOB_EMPTY"},
		{"missing file", "{file." + path + ".missing}", "", false, "file " + path + ".missing"},
		{"unknown", "canary{canary}", "", false, "placeholder"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			logger, logged := newLogger()
			got, err := ResolveSecret("password", tt.text, logger)
			if got != tt.want || (err != nil) != (tt.fails != "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Fatalf("got %q and %v, want %q", got, err, tt.want)
			}
			if err != nil && (!strings.HasPrefix(err.Error(), "password: ") || strings.Contains(err.Error(), "canary")) {
				t.Errorf("the error %q does not name the option, or quotes it", err)
			}
			if warned := strings.Contains(logged.String(), "option=password"); warned != tt.warns {
				t.Errorf("logged %q", logged)
			}
			if strings.Contains(logged.String(), "canary") {
				t.Errorf("the log %q quotes the secret", logged)
			}
		})
	}
}

func TestCheckReadsNothing(t *testing.T) {
	short := func(value string) error {
		if len(value) > 5 {
			return errors.New("it is too long")
		}
		return nil
	}
	for _, tt := range []struct{ name, text, want string }{
		{"right", "short", ""},
		{"not right", "canary", "option: it is too long"},
		{"escaped braces", `\{a\}`, ""},
		{"empty", "", "option: it is empty"},
		{"environment", "{env.OOB_UNSET}canary", ""},
		{"file", "{file./nonexistent}", ""},
		{"system", "canary{system.hostname}", ""},
		{"unknown", "{env.OOB_UNSET}{canary}", "option: it holds a placeholder that is unknown here; there are {env.NAME}"},
		{"of a request", "{http.request.host}", "option: it holds a placeholder that is unknown here"},
	} {
		err := Check("option", tt.text, short)
		if (err == nil) != (tt.want == "") {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.want != "" {
			wantError(t, err, tt.want)
		}
	}
	if err := Check("option", "whatever", nil); err != nil {
		t.Error(err)
	}
}

func TestContentInPlaceOfAPath(t *testing.T) {
	for text, want := range map[string]string{
		"/etc/file":               "",
		"{env.OOB_PATH}":          "",
		"{file./nonexistent}.pem": "",
		`{"canary":"x"}`:          "key: it takes the path of a file, and this is the content of one",
		"first\ncanary":           "key: it takes the path of a file",
		"-----BEGIN canary-----":  "key: it takes the path of a file",
		"{canary}":                "key: it holds a placeholder that is unknown here",
	} {
		err := CheckPath("key", text)
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		wantError(t, err, want)
		if _, err := ResolvePath("key", text); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("at load: %v", err)
		}
	}
	t.Setenv("OOB_PATH", "/etc/file")
	if path, err := ResolvePath("key", "{env.OOB_PATH}"); err != nil || path != "/etc/file" {
		t.Errorf("got %q, %v", path, err)
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want an error with %q", err, part)
		}
	}
	if err != nil && strings.Contains(err.Error(), "canary") {
		t.Errorf("the error %q quotes the file", err)
	}
}

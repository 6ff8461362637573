package caddymodule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddytest"

	_ "github.com/oob-dispatch/oob-dispatch/dispatchers/fcm"
	_ "github.com/oob-dispatch/oob-dispatch/dispatchers/link"
	_ "github.com/oob-dispatch/oob-dispatch/dispatchers/qrcode"
	_ "github.com/oob-dispatch/oob-dispatch/targets/kv/caddystore"
)

// The files hold a Caddyfile, a line of dashes, and the JSON that it stands for.
func TestCaddyfileAdaptsToJSON(t *testing.T) {
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(content), "----------\n")
			if !caddytest.CompareAdapt(t, file, input, "caddyfile", strings.TrimSpace(want)) {
				t.Error("the JSON is another one")
			}
		})
	}
}

// adapt returns the JSON of a Caddyfile.
func adapt(t *testing.T, text string) []byte {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatalf("adapting: %v\n%s", err, text)
	}
	return config
}

func inSite(options string) string {
	return ":8881 {\n\toob_dispatch {\n" + options + "\n\t}\n}\n"
}

func inDispatcher(kind, options string) string {
	return inSite("\t\tdispatcher d " + kind + " {\n" + options + "\n\t\t}")
}

const oneLink = "\n\t\tdispatcher link link"

// A proxy's URL may hold a password, which no error shows.
func TestRefusalsQuoteNoSecrets(t *testing.T) {
	for _, line := range []string{"proxy http://user:hunter2@proxy extra", "client_cert /a/hunter2", "credentials hunter2 hunter2"} {
		_, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(inDispatcher("fcm", line)), nil)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

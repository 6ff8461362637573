package caddymodule

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// loggingTo has a configuration, which begins with global options, log into a
// file.
func loggingTo(t *testing.T, path, config string) string {
	t.Helper()
	return strings.Replace(config, "{\n", "{\n\tadmin off\n\tpersist_config off\n\tstorage file_system "+testservice.Folder(t)+"\n\tlog {\n\t\toutput file "+path+"\n\t}\n", 1)
}

// A store that cannot be written is a warning as soon as the configuration
// runs, and nothing of the store is touched when it is only validated.
func TestStoreThatCannotBeWritten(t *testing.T) {
	dir := testservice.Folder(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("not a folder"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(dir, "good")
	const message = "the store cannot be written"
	for name, test := range map[string]struct {
		root string
		want bool
	}{"broken": {file, true}, "works": {good, false}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			config := adapt(t, loggingTo(t, path, "{\n}\nhttp://127.0.0.1:0 {\n\toob_dispatch {\n\t\tstore caddy {\n\t\t\tstorage file_system "+test.root+"\n\t\t}\n\t\tdispatcher open link\n\t}\n}\n"))
			if err := validateConfig(config); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * startInterval)
			if _, err := os.Stat(good); !test.want && err == nil {
				t.Error("a validation wrote to the store")
			}
			t.Cleanup(func() {
				if err := caddy.Stop(); err != nil {
					t.Error(err)
				}
			})
			if err := caddy.Load(config, true); err != nil {
				t.Fatal(err)
			}
			if warned := appears(path, message, time.Second); warned != test.want {
				t.Errorf("warned: %v, want %v", warned, test.want)
			}
			if _, err := os.Stat(good); !test.want && err != nil {
				t.Errorf("the store was not tried: %v", err)
			}
		})
	}
}

// appears waits for a text in a file.
func appears(path, text string, within time.Duration) bool {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if content, err := os.ReadFile(path); err == nil && strings.Contains(string(content), text) {
			return true
		}
	}
	return false
}

func validateConfig(content []byte) error {
	config := new(caddy.Config)
	if err := json.Unmarshal(content, config); err != nil {
		return err
	}
	return caddy.Validate(config)
}

package caddymodule

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// A store that cannot be written is a warning as soon as the configuration
// runs, and nothing of the store is touched when it is only validated.
func TestStoreThatCannotBeWritten(t *testing.T) {
	dir := testservice.Folder(t)
	file := filepath.Join(dir, "file")
	writeFile(t, file, "not a folder")
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
			load(t, config)
			if warned := appears(path, message, time.Second); warned != test.want {
				t.Errorf("warned: %v, want %v", warned, test.want)
			}
			if _, err := os.Stat(good); !test.want && err != nil {
				t.Errorf("the store was not tried: %v", err)
			}
		})
	}
}

func validateConfig(content []byte) error {
	config := new(caddy.Config)
	if err := json.Unmarshal(content, config); err != nil {
		return err
	}
	return caddy.Validate(config)
}

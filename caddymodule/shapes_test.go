package caddymodule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The file of somebody else is a load error and stays; validating a
// configuration writes none.
func TestShapesFile(t *testing.T) {
	folder := t.TempDir()
	foreign, fresh := filepath.Join(folder, "foreign.json"), filepath.Join(folder, "fresh.json")
	writeFile(t, foreign, `{"canary":1}`)
	err := validate(t, handlerWith(`, "observe": true, "shapes": "`+foreign+`"`))
	if err == nil || !strings.Contains(err.Error(), "foreign.json") || strings.Contains(err.Error(), "canary") {
		t.Errorf("a foreign file: %v", err)
	}
	if content, err := os.ReadFile(foreign); err != nil || string(content) != `{"canary":1}` {
		t.Errorf("it is %s now: %v", content, err)
	}
	if err := validate(t, handlerWith(`, "observe": true, "shapes": "`+fresh+`"`)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Error("validating made a file")
	}
}

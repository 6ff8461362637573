// Package docs holds the documentation; its tests keep it true.
package docs

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
)

// pager begins the block of the example's dispatcher, which is in no other binary.
const pager = "dispatcher on-call pager "

// TestExampleDispatcher builds Caddy with this project and the example, as
// xcaddy does, and validates a configuration that uses it. It takes minutes.
func TestExampleDispatcher(t *testing.T) {
	testservice.Slow(t, "a whole Caddy is built")
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	requirements := strings.Replace(readFile(t, "go.mod"), "module github.com/oob-dispatch/oob-dispatch", "module caddy", 1)
	write("go.mod", requirements+`
require (
	example.com/pager v0.0.0
	github.com/oob-dispatch/oob-dispatch v0.0.0
)

replace (
	example.com/pager => `+filepath.Join(root, "docs/examples/pager")+`
	github.com/oob-dispatch/oob-dispatch => `+root+`
)
`)
	write("go.sum", readFile(t, "go.sum"))
	write("main.go", strings.Replace(readFile(t, "cmd/caddy/main.go"), `	_ "github.com/oob-dispatch/oob-dispatch"`, `	_ "example.com/pager"
	_ "github.com/oob-dispatch/oob-dispatch"`, 1))
	for _, f := range (page{"docs/dispatcher.md", readFile(t, "docs/dispatcher.md")}).fences() {
		if strings.HasPrefix(f.text, pager) {
			write("Caddyfile", whole(f.text))
		}
	}
	run(t, dir, "go", "build", "-mod=mod", "-o", "caddy", ".")
	if modules := run(t, dir, "./caddy", "list-modules"); !strings.Contains(modules, "oob.dispatchers.pager") {
		t.Error("the binary lacks oob.dispatchers.pager")
	}
	run(t, dir, "./caddy", "validate", "--config", "Caddyfile")
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	if home, err := os.UserHomeDir(); err == nil && name == "go" {
		cmd.Env = append(os.Environ(), "HOME="+home)
	}
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String()
}

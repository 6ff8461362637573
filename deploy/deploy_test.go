// Package deploy is what an operator installs; its tests build and run it.
package deploy

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// command is a program that a test runs to its end, in the repository.
type command struct {
	env []string // in addition to that of the test
}

// run returns what the program prints to its standard output, and fails the
// test with all that it prints if it fails.
func (c command) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := c.try(t, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (c command) try(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	// Containers are removed when the test has ended, and its context with it.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = "..", &stdout, &stderr
	cmd.Env = append(os.Environ(), c.env...)
	if err := cmd.Run(); err != nil {
		return "", &failure{name + " " + strings.Join(args, " "), err, stdout.String() + stderr.String()}
	}
	return stdout.String(), nil
}

type failure struct {
	what   string
	err    error
	output string
}

func (f *failure) Error() string { return f.what + ": " + f.err.Error() + "\n" + f.output }

func write(t *testing.T, file, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

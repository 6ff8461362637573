package testservice

import (
	"os"
	"path/filepath"
	"testing"
)

// Put puts a file in place at once, as an operator should.
func Put(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// File makes a file in a folder of its own, and returns its path.
func File(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	Put(t, path, content)
	return path
}

package caddymodule

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

// Every package of the product that registers a module is imported by module.go,
// which is all that xcaddy imports, or by internal/guests. The test is here because
// one beside module.go would be a program with all of Caddy for it alone.
func TestAllModulesAreImported(t *testing.T) {
	list := readFile(t, "../module.go") + readFile(t, "../internal/guests/guests.go")
	found, root := 0, os.DirFS("..")
	for _, room := range []string{"caddymodule", "dispatchers", "targets", "internal"} {
		err := fs.WalkDir(root, room, func(name string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			content, err := fs.ReadFile(root, name)
			if err != nil {
				return err
			}
			registers := bytes.Contains(content, []byte("caddy.RegisterModule(")) || bytes.Contains(content, []byte("caddycmd.RegisterCommand("))
			if !registers {
				return nil
			}
			found++
			if !strings.Contains(list, `_ "github.com/oob-dispatch/oob-dispatch/`+path.Dir(name)+`"`) {
				t.Errorf("neither module.go nor internal/guests imports the package of %s", name)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 14 {
		t.Errorf("only %d packages register modules", found)
	}
}

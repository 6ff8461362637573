package letter

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/oob-dispatch/oob-dispatch/internal/httpclient"
	"github.com/oob-dispatch/oob-dispatch/internal/testservice"
	"github.com/oob-dispatch/oob-dispatch/internal/texts"
)

func TestProvisionRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	open, bad := filepath.Join(dir, "open"), filepath.Join(dir, "templates")
	for path, content := range map[string]string{file: "", filepath.Join(bad, "registration.de.txt"): "\n{{", filepath.Join(open, "x"): ""} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		testservice.Put(t, path, []byte(content))
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		l    Letter
		want string
	}{
		"no such folder":      {Letter{Spool: filepath.Join(dir, "none")}, "does not exist"},
		"file as spool":       {Letter{Spool: file}, "not a folder"},
		"spool for everybody": {Letter{Spool: open}, "chmod o-w"},
		"spool from nothing":  {Letter{Spool: "{env.NO_SUCH_VARIABLE}"}, "spool"},
		"missing ca":          {Letter{Printer: "ipps://h/p", Options: httpclient.Options{CA: filepath.Join(dir, "none")}}, "ca"},
		"broken template":     {Letter{Spool: dir, Config: texts.Config{Templates: bad}}, "registration.de.txt:2"},
		"no templates":        {Letter{Spool: dir, Config: texts.Config{Templates: filepath.Join(dir, "none")}}, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
			defer cancel()
			err := tc.l.Provision(ctx)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want %q", err, tc.want)
			}
		})
	}
}

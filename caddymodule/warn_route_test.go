package caddymodule

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What does not go together with the handler in its route is told as soon as the
// configuration runs.
func TestWarningsOfTheRoute(t *testing.T) {
	const (
		dispatch = "oob_dispatch {\n dispatcher open link\n}\n"
		proxy    = "reverse_proxy 127.0.0.1:1\n"
		retrying = "reverse_proxy 127.0.0.1:1 {\n lb_retries 2\n}\n"

		before, twice, repeats = "reverse_proxy stands before", "two oob_dispatch", "the proxy repeats"
	)
	for name, test := range map[string]struct{ site, want string }{
		"sorted by Caddy":            {proxy + dispatch, ""},
		"in order":                   {"route {\n" + dispatch + proxy + "}\n", ""},
		"the wrong way round":        {"route {\n" + proxy + dispatch + "}\n", before},
		"in a handle before":         {"route {\nhandle {\n" + proxy + "}\n" + dispatch + "}\n", before},
		"of other paths":             {"route {\nreverse_proxy /other/* 127.0.0.1:1\n" + dispatch + proxy + "}\n", ""},
		"forward_auth":               {"route {\nforward_auth 127.0.0.1:2 {\nuri /auth\n}\n" + dispatch + proxy + "}\n", ""},
		"of other paths in a handle": {"handle /other/* {\n" + retrying + "}\nhandle {\n" + dispatch + proxy + "}\n", ""},
		"retries":                    {dispatch + retrying, repeats},
		"tries for a while":          {"route /nevisfido/* {\n" + dispatch + "reverse_proxy 127.0.0.1:1 {\n lb_try_duration 3s\n}\n}\n", repeats},
		"retries of other paths":     {"route {\n" + dispatch + "reverse_proxy /other/* 127.0.0.1:1 {\n lb_retries 2\n}\n" + proxy + "}\n", ""},
		"two":                        {"route {\n" + dispatch + dispatch + proxy + "}\n", twice},
		"two of different paths":     {"route {\noob_dispatch {\n base_path /b\n dispatcher open link\n}\n" + dispatch + proxy + "}\n", ""},
		"two apart":                  {"handle /a/* {\n" + dispatch + proxy + "}\nhandle {\n" + dispatch + proxy + "}\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := loadSite(t, test.site)
			if test.want != "" && !appears(path, test.want, time.Second) {
				t.Errorf("%q is not in the log", test.want)
			}
			time.Sleep(4 * startInterval)
			for _, other := range []string{before, twice, repeats} {
				if other != test.want && appears(path, other, 0) {
					t.Errorf("%q is in the log", other)
				}
			}
		})
	}
}

// An audit file that cannot be written is told of before a line is lost.
func TestAuditFileThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "full")
	if err := os.Symlink(filepath.Join(dir, "nowhere", "none"), file); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		path string
		want bool
	}{"good": {filepath.Join(dir, "audit.jsonl"), false}, "a link to nowhere": {file, true}} {
		t.Run(name, func(t *testing.T) {
			log := loadSite(t, "oob_dispatch {\naudit file "+test.path+"\ndispatcher open link\n}\n")
			if warned := appears(log, "the audit file cannot be written", time.Second); warned != test.want {
				t.Errorf("warned: %v, want %v", warned, test.want)
			}
		})
	}
}

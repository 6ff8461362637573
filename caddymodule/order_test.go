package caddymodule

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// A proxy that leaves nothing for the handler is told of as soon as the
// configuration runs.
func TestProxyBeforeTheHandler(t *testing.T) {
	const dispatch = "oob_dispatch {\n dispatcher open link\n}\n"
	for name, test := range map[string]struct {
		site  string
		warns bool
	}{
		"sorted by Caddy":            {"reverse_proxy 127.0.0.1:1\n" + dispatch, false},
		"in order":                   {"route {\n" + dispatch + "reverse_proxy 127.0.0.1:1\n}\n", false},
		"the wrong way round":        {"route {\nreverse_proxy 127.0.0.1:1\n" + dispatch + "}\n", true},
		"in a handle before":         {"route {\nhandle {\nreverse_proxy 127.0.0.1:1\n}\n" + dispatch + "}\n", true},
		"of other paths":             {"route {\nreverse_proxy /other/* 127.0.0.1:1\n" + dispatch + "reverse_proxy 127.0.0.1:1\n}\n", false},
		"forward_auth":               {"route {\nforward_auth 127.0.0.1:2 {\nuri /auth\n}\n" + dispatch + "reverse_proxy 127.0.0.1:1\n}\n", false},
		"of other paths in a handle": {"handle /other/* {\nreverse_proxy 127.0.0.1:1\n}\nhandle {\n" + dispatch + "reverse_proxy 127.0.0.1:1\n}\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			config := adapt(t, loggingTo(path, "{\n}\nhttp://127.0.0.1:0 {\n"+test.site+"}\n"))
			t.Cleanup(func() {
				if err := caddy.Stop(); err != nil {
					t.Error(err)
				}
			})
			if err := caddy.Load(config, true); err != nil {
				t.Fatal(err)
			}
			wait := time.Second
			if !test.warns {
				wait = 4 * startInterval
			}
			if warned := appears(path, "reverse_proxy stands before", wait); warned != test.warns {
				t.Errorf("warned: %v, want %v", warned, test.warns)
			}
		})
	}
}

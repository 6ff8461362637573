package version

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestVersionOfBinary(t *testing.T) {
	vcs := []debug.BuildSetting{{Key: "vcs.revision", Value: "85b74fc"}, {Key: "vcs.modified", Value: "false"}}
	dep := func(m debug.Module) []*debug.Module {
		return []*debug.Module{{Path: "example.com/other", Version: "v9.9.9"}, &m}
	}
	for name, tt := range map[string]struct {
		build           debug.BuildInfo
		version, commit string
	}{
		"built from a clone": {
			debug.BuildInfo{Main: debug.Module{Path: module, Version: "v0.2.0"}, Settings: vcs}, "v0.2.0", "85b74fc",
		},
		"built from a clone with changes": {
			debug.BuildInfo{
				Main:     debug.Module{Path: module, Version: "v0.2.0+dirty"},
				Settings: append([]debug.BuildSetting{{Key: "vcs.modified", Value: "true"}}, vcs[0]),
			}, "v0.2.0+dirty", "85b74fc+modified",
		},
		"built without git": {debug.BuildInfo{Main: debug.Module{Path: module, Version: "(devel)"}}, "(devel)", "unknown"},
		"built by xcaddy, whose own commit is not ours": {
			debug.BuildInfo{Main: debug.Module{Path: "caddy"}, Deps: dep(debug.Module{Path: module, Version: "v0.2.0"}), Settings: vcs},
			"v0.2.0", "unknown",
		},
		"built by xcaddy from a folder": {
			debug.BuildInfo{Deps: dep(debug.Module{Path: module, Version: "v0.0.0", Replace: &debug.Module{Path: "/src"}})},
			"(devel)", "unknown",
		},
		"without our module": {debug.BuildInfo{}, "unknown", "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := of(&tt.build); got.Version != tt.version || got.Commit != tt.commit {
				t.Errorf("version %s, commit %s; want %s, %s", got.Version, got.Commit, tt.version, tt.commit)
			}
		})
	}
}

// A test binary has this module as its main one.
func TestRunningBinary(t *testing.T) {
	got := Read()
	if got.Go != runtime.Version() || got.Version == "unknown" || got.Caddy == "" {
		t.Errorf("read %+v", got)
	}
}

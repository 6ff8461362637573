// Package version tells which releases the running binary is made of, for
// `caddy oob version` and the metric caddy_oob_build_info.
package version

import (
	"cmp"
	"runtime/debug"

	"github.com/caddyserver/caddy/v2"
)

const module = "github.com/oob-dispatch/oob-dispatch"

// What xcaddy.sh has the linker write into a binary.
var version, commit string

// Info is what is known of a binary. What is not known is "unknown".
type Info struct {
	Version string `json:"version"` // of this module, such as v0.2.0; "(devel)" where Go does not know
	Commit  string `json:"commit"`  // that it was built from, in hexadecimal; with "+modified" where files differed
	Caddy   string `json:"caddy"`   // such as v2.11.9
	Go      string `json:"go"`      // such as go1.26.0
}

// Read returns what is known of the running binary.
func Read() Info {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		build = new(debug.BuildInfo)
	}
	info := of(build)
	info.Version, info.Commit = cmp.Or(version, info.Version), cmp.Or(commit, info.Commit)
	return info
}

func of(build *debug.BuildInfo) Info {
	const unknown = "unknown"
	info := Info{Version: unknown, Commit: unknown, Caddy: unknown, Go: build.GoVersion}
	if info.Caddy, _ = caddy.Version(); info.Go == "" {
		info.Go = unknown
	}
	if build.Main.Path == module { // built here, by xcaddy.sh
		info.Version, info.Commit = build.Main.Version, revision(build.Settings)
	}
	for _, dependency := range build.Deps { // built by xcaddy
		if dependency.Path == module {
			if dependency.Replace != nil {
				dependency = dependency.Replace
			}
			info.Version = dependency.Version
		}
	}
	if info.Version == "" {
		info.Version = "(devel)"
	}
	return info
}

func revision(settings []debug.BuildSetting) string {
	revision, modified := "unknown", ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+modified"
		}
	}
	return revision + modified
}

#!/bin/sh
set -eu
cd "$(dirname "$0")"

usage() {
	cat <<'END'
Usage: ./xcaddy.sh [--output FILE] [--with MODULE[@VERSION] ...]

Builds ./caddy, or FILE: Caddy's standard modules and oob-dispatch, as one
static binary. It needs the Go that go.mod names, and the network or a filled
module cache.

  --output FILE      where the binary goes; has to come first
  --with MODULE ...  adds further plug-ins, through xcaddy. These arguments are
                     handed to xcaddy as they are (--with, --replace, --embed)
  --version          prints the version that a build would be stamped with
  --help             prints this

Environment: VERSION and COMMIT, where they are not to come from git, and GOOS
and GOARCH. The same sources, VERSION, COMMIT and Go give the same bytes.
END
}

version=${VERSION:-$(git describe --tags --match 'v*' --always --dirty 2>/dev/null || echo devel)}
commit=${COMMIT:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
output=./caddy
case "${1-}" in
-h | --help)
	usage
	exit
	;;
--version)
	echo "$version"
	exit
	;;
--output)
	output=${2:?--output needs a file}
	shift 2
	;;
esac

module=$(go list -m)
caddy=github.com/caddyserver/caddy/v2
caddy_version=$(go list -m -f '{{.Version}}' "$caddy")

# Without cgo the binary is static, so that it runs in an empty image; with
# timetzdata it knows the time zones there. The other tags leave out databases
# of Caddy's CA that nobody can configure here. -buildvcs would put in whether
# there is a git repository, which is not for the bytes to tell.
export CGO_ENABLED=0
tags=nobadger,nomysql,nopgx,timetzdata
ldflags="-w -s -X '$caddy.CustomVersion=oob-dispatch $version, commit $commit, Caddy'"
ldflags="$ldflags -X $module/internal/version.version=$version -X $module/internal/version.commit=$commit"

if [ $# -eq 0 ]; then
	echo "building $output: oob-dispatch $version; the first time takes minutes" >&2
	go build -trimpath -buildvcs=false -ldflags "$ldflags" -tags "$tags" -o "$output" ./cmd/caddy
elif command -v xcaddy >/dev/null 2>&1; then
	XCADDY_GO_BUILD_FLAGS="-trimpath -buildvcs=false -tags $tags -ldflags \"$ldflags\"" \
		xcaddy build "$caddy_version" --with "$module=." --output "$output" "$@"
else
	echo "xcaddy.sh: further plug-ins need xcaddy, which is not installed." >&2
	echo "Get it with: go install github.com/caddyserver/xcaddy/cmd/xcaddy@latest" >&2
	exit 1
fi

if [ "$(go env GOOS GOARCH)" != "$(go env GOHOSTOS GOHOSTARCH)" ]; then
	echo "built $output for $(go env GOOS)/$(go env GOARCH)"
	exit
fi
case "$output" in
*/*) run=$output ;;
*) run=./$output ;;
esac
"$run" version
# module.go imports all modules of this project, and its test sees to that: one
# of them in the binary stands for all.
if ! "$run" list-modules | grep -qx http.handlers.oob_dispatch; then
	echo "xcaddy.sh: the binary lacks the modules of $module" >&2
	exit 1
fi
echo "built $output with the modules of $module"

#!/bin/sh
# Builds ./caddy: Caddy's standard modules and oob-dispatch.
#
#   ./xcaddy.sh                               plain go build of cmd/caddy
#   ./xcaddy.sh --with MODULE[@VERSION] ...   with further plug-ins, through xcaddy
#
# Arguments are handed to xcaddy as they are (--with, --replace, --embed).
set -eu
cd "$(dirname "$0")"

module=$(go list -m)
caddy_version=$(go list -m -f '{{.Version}}' github.com/caddyserver/caddy/v2)

if [ $# -eq 0 ]; then
	go build -trimpath -ldflags "-w -s" -tags nobadger,nomysql,nopgx -o caddy ./cmd/caddy
elif command -v xcaddy >/dev/null 2>&1; then
	xcaddy build "$caddy_version" --with "$module=." --output ./caddy "$@"
else
	echo "xcaddy.sh: further plug-ins need xcaddy, which is not installed." >&2
	echo "Get it with: go install github.com/caddyserver/xcaddy/cmd/xcaddy@latest" >&2
	exit 1
fi

./caddy version
# module.go imports all modules of this project, and its test sees to that: one
# of them in the binary stands for all.
if ! ./caddy list-modules | grep -qx http.handlers.oob_dispatch; then
	echo "xcaddy.sh: the binary lacks the modules of $module" >&2
	exit 1
fi
echo "built ./caddy with the modules of $module"

#!/bin/bash
# Installs what the tests need (Debian packages), and runs every test with the
# race detector, vet and the linters. As root: only root can start a real
# Postfix, and install packages.
#
#   ./test.sh        everything; a test that is skipped is a failure
#   ./test.sh lint   formatting, modules, vet and the linters; any user can
set -euo pipefail
cd "$(dirname "$0")"

step() { printf '\n== %s\n' "$*"; }

golangci_lint=github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

lint() {
	step "formatting and modules"
	local unformatted
	unformatted=$(gofmt -l $(git ls-files '*.go'))
	if [ -n "$unformatted" ]; then
		echo "test.sh: gofmt would change: $unformatted" >&2
		exit 1
	fi
	go mod verify
	go mod tidy -diff

	step "vet"
	go vet ./...

	step "linters"
	go run "$golangci_lint" run ./...
}

if [ "${1-}" = lint ]; then
	lint
	exit
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "test.sh: run it as root, as on a build machine: it installs packages, and the tests start Postfix" >&2
	exit 1
fi
for program in go git; do
	if ! command -v "$program" >/dev/null; then
		echo "test.sh: $program is not in the PATH" >&2
		exit 1
	fi
done
git ls-files >/dev/null # fails where the folder is somebody else's

# need PROGRAM PACKAGE: makes sure that the program is there.
missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }

step "packages"
need zbarimg zbar-tools
need node nodejs
need npm npm
need gcc gcc
need javac default-jdk-headless
need spin spin
[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev) # which gcc only recommends
need qpdf qpdf
need pdftoppm poppler-utils
need /usr/sbin/ippeveprinter cups-ipp-utils
need dbus-daemon dbus-daemon
need /usr/sbin/postfix postfix
need /usr/sbin/saslpasswd2 sasl2-bin
need redis-server redis-server
need make make
need buildah buildah
need podman podman
need runc runc
need systemd-analyze systemd
need chromium chromium
need promtool prometheus
need etcd etcd-server
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
dpkg -s squid-openssl >/dev/null 2>&1 || missing+=(squid-openssl)
dpkg -s libsasl2-modules >/dev/null 2>&1 || missing+=(libsasl2-modules)
for package in libjetty9-java libtomcat10-java libspring-web-servlet-java libjackson2-databind-java; do
	dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
/usr/bin/python3 -c 'import jwcrypto' 2>/dev/null || missing+=(python3-jwcrypto)
if [ ${#missing[@]} -gt 0 ]; then
	echo "installing ${missing[*]}"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
for folder in encrypt/testdata/interop integration/testdata/browser cmd/demo/testdata/browser; do
	(cd "$folder" && npm ci --no-audit --no-fund --silent)
done

lint

step "the binary and Caddyfile.example"
./xcaddy.sh
./caddy fmt --diff Caddyfile.example
./caddy adapt --config Caddyfile.example --adapter caddyfile --validate >/dev/null
./caddy validate --config Caddyfile.example --adapter caddyfile

export OOB_TEST_ALL=1 # a test that cannot run is a failure here

step "what deploy/ and traces are checked with"
go -C deploy/kube/apiserver build -trimpath -o /dev/null . # minutes with a cold cache, none with a warm one
go -C integration/collector build -trimpath -o /dev/null .

step "tests"
go test -race -count=1 -timeout 30m ./...

step "benchmarks run"
go test -run '^$' -bench . -benchtime 1x ./... >/dev/null

step "demo"
go run ./cmd/demo --once

echo
echo "test.sh: all passed"

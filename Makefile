# The words that people try. test.sh and xcaddy.sh do the work; see
# CONTRIBUTING.md and docs/install.md.
.PHONY: build test test-all lint mutations bench fuzz books soak chaos demo third-party image demo-image release context sbom vulncheck

# Tools of the release, built by go run at these versions.
cyclonedx   = github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
govulncheck = golang.org/x/vuln/cmd/govulncheck@v1.9.0
nfpm        = github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
helm        = helm.sh/helm/v3/cmd/helm@v3.22.0

# What xcaddy.sh builds with, too.
tags = nobadger,nomysql,nopgx,timetzdata

export VERSION ?= $(shell ./xcaddy.sh --version)
export COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)

# Where image and release are built, and of what.
DIST        ?= dist
ARCHS        = amd64 arm64
ARCH        ?= $(shell go env GOARCH)
IMAGE       ?= oob-dispatch:$(VERSION:v%=%)
DEMO_IMAGE  ?= oob-dispatch-demo:latest
BUILD_IMAGE ?= buildah bud
CA_BUNDLE   ?= /etc/ssl/certs/ca-certificates.crt

# Packages need a version with numbers, even between releases.
numbered = $(if $(filter v%,$(VERSION)),$(VERSION:v%=%),0.0.0-$(VERSION))

name = $(DIST)/oob-dispatch_$(VERSION:v%=%)_linux

build: ## ./caddy with the module
	./xcaddy.sh

test: ## what runs as an ordinary user, without extra packages
	go test ./...

test-all: ## everything, as root on Debian: installs packages, skips nothing
	./test.sh

lint: ## the linters of .golangci.yml
	./test.sh lint

mutations: ## takes one guard after the other out, and tells which test notices; ARGS=word for those with the word
	go run ./internal/mutations $(ARGS)

bench: ## rates, parts and memory against their limits; docs/performance.md
	bench/run

fuzz: ## every fuzz target for FUZZTIME, such as 30s or 10000000x; docs/fuzzing.md
	bench/fuzz $(or $(FUZZTIME),10s) $(TARGETS)

DISPATCHES ?= 20000
books: ## many dispatches with faults: callers, providers, audit trail and metrics agree; docs/books.md
	OOB_BOOKS=$(DISPATCHES) go test -count=1 -timeout 0 -v -run TestBooks ./integration/books

SOAK ?= 30m
soak: ## dispatches and reloads for SOAK: memory, goroutines and descriptors stay, and the books agree; docs/books.md
	OOB_SOAK=$(SOAK) go test -count=1 -timeout 0 -v -run TestSoak ./integration/books

OPERATIONS ?= 1000000
chaos: ## three sidecars on Redis with Sentinel while parts are killed, stopped and replaced, for OPERATIONS calls; docs/chaos.md
	OOB_CHAOS_OPERATIONS=$(OPERATIONS) go test -count=1 -timeout 0 -v -run TestChaos ./integration/chaos

demo: ## Caddy with the module between simulated parties, and a page that shows it; ARGS=--once for one message over every channel
	@echo "building the demo; the first time takes minutes" >&2
	CGO_ENABLED=0 go run -trimpath -tags $(tags) ./cmd/demo $(ARGS)

third-party: ## writes THIRD_PARTY again, after a change of go.mod
	go test ./internal/thirdparty -update

image: $(DIST)/image/$(ARCH)/caddy context ## the container image, as IMAGE; BUILD_IMAGE="docker build" or "podman build" instead of buildah
	$(BUILD_IMAGE) --platform linux/$(ARCH) --build-arg TARGETARCH=$(ARCH) \
		--build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) \
		-t $(IMAGE) -f deploy/image/Containerfile $(DIST)/image

demo-image: context ## the simulated parties of deploy/compose, as DEMO_IMAGE
	CGO_ENABLED=0 GOOS=linux GOARCH=$(ARCH) go build -trimpath -tags $(tags) -o $(DIST)/image/$(ARCH)/demo ./cmd/demo
	$(BUILD_IMAGE) --platform linux/$(ARCH) --build-arg TARGETARCH=$(ARCH) \
		-t $(DEMO_IMAGE) -f deploy/compose/Containerfile $(DIST)/image

$(DIST)/image/%/caddy: FORCE
	GOOS=linux GOARCH=$* ./xcaddy.sh --output $@
FORCE:

context: # the files beside the binary that deploy/image/Containerfile copies
	mkdir -p $(DIST)/image/data
	cp $(CA_BUNDLE) $(DIST)/image/ca-certificates.crt
	cp LICENSE THIRD_PARTY $(DIST)/image/

release: ## archives, packages, images and SBOMs for amd64 and arm64, the chart, and their checksums, in DIST; needs buildah
	rm -rf $(DIST)
	for arch in $(ARCHS); do $(MAKE) archive deb image-archive sbom ARCH=$$arch || exit 1; done
	$(MAKE) chart
	cd $(DIST) && sha256sum oob-dispatch[_-]* >SHA256SUMS && sha256sum --check --strict SHA256SUMS

# The same sources give the same archive and the same package.
.PHONY: archive deb image-archive chart
archive: $(DIST)/image/$(ARCH)/caddy
	mkdir -p $(DIST)/archive
	cp $< LICENSE THIRD_PARTY CHANGELOG.md Caddyfile.example deploy/systemd/oob-dispatch.service $(DIST)/archive/
	tar --sort=name --owner=0 --group=0 --numeric-owner --mode=go=rX --mtime="@$$(git log -1 --format=%ct)" \
		-C $(DIST)/archive -cf - . | gzip -9n >$(name)_$(ARCH).tar.gz

deb: archive ## a package for Debian and Ubuntu
	sed -i 's:/usr/local/bin/:/usr/bin/:' $(DIST)/archive/oob-dispatch.service
	VERSION=$(numbered) ARCH=$(ARCH) ROOT=$(DIST)/archive SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) \
		go run $(nfpm) package --config deploy/deb/nfpm.yaml --packager deb --target $(name)_$(ARCH).deb

image-archive: image
	buildah push -q $(IMAGE) oci-archive:$(name)_$(ARCH).oci.tar:$(IMAGE)

chart: ## the Helm chart, of this version
	go run $(helm) package deploy/helm/oob-dispatch --version $(numbered) --app-version $(VERSION:v%=%) --destination $(DIST)

sbom: $(DIST)/image/$(ARCH)/caddy ## what is in the binary, as CycloneDX JSON
	go run $(cyclonedx) bin -json -noserial -version $(VERSION) -output $(name)_$(ARCH).cdx.json $<

vulncheck: ## known vulnerabilities that the binary can reach; VULNDB=folder without network
	@go run $(govulncheck) $(if $(VULNDB),-db file://$(abspath $(VULNDB))) -tags $(tags) ./cmd/caddy || { status=$$?; \
		echo "make vulncheck: if the database could not be reached: fetch https://vuln.go.dev/vulndb.zip elsewhere, unpack it, and set VULNDB=<its folder>" >&2; \
		exit $$status; }

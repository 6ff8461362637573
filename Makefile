# The words that people try. test.sh and xcaddy.sh do the work; see
# CONTRIBUTING.md.
.PHONY: build test test-all lint bench demo third-party

build: ## ./caddy with the module
	./xcaddy.sh

test: ## what runs as an ordinary user, without extra packages
	go test ./...

test-all: ## everything, as root on Debian: installs packages, skips nothing
	./test.sh

lint: ## the linters of .golangci.yml
	./test.sh lint

bench: ## rates, parts and memory against their limits; docs/performance.md
	bench/run

demo: ## Caddy with the module between simulated parties
	go run ./cmd/demo

third-party: ## writes THIRD_PARTY again, after a change of go.mod
	go test ./internal/thirdparty -update

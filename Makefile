# backstay needs Go, git and make. `make demo` and `make test` install what else
# they need (scripts/setup.sh says what and why). `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Servers live in sbin, which an ordinary user's PATH lacks; Go's own installer
# leaves the PATH to the user.
export PATH := $(PATH):/usr/local/go/bin:/usr/sbin:/sbin
export CGO_ENABLED := 0

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)

# Packages tested at once, many with a database server of their own.
TEST_JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 4 ? n : 4)))
TEST_TIMEOUT ?= 10m
TEST_FLAGS ?=
MATRIX_PACKAGES ?= ./internal/mysql/...
BENCH ?= .
FUZZ_PACKAGES ?=
BENCH_FLAGS ?=
DEMO_FLAGS ?=

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: server build ## back up, damage and restore a throwaway application on a private database server
	bin/backstay demo $(DEMO_FLAGS)

.PHONY: test
test: setup ## run all tests, on private database servers
	go test -count=1 -p $(TEST_JOBS) -timeout $(TEST_TIMEOUT) $(TEST_FLAGS) ./...

.PHONY: test-matrix
test-matrix: server ## run the database tests on MariaDB 10.11 and 11 and MySQL 9, and print a table
	scripts/servers.sh | go run ./test/matrix -p $(TEST_JOBS) $(MATRIX_PACKAGES)

.PHONY: fuzz
fuzz: ## fuzz what reads archives, dumps and configuration, FUZZ_TIME=10s each
	scripts/fuzz.sh $(FUZZ_PACKAGES)

.PHONY: lint
lint: ## check format, vet, staticcheck, modules and generated files
	@unformatted=$$(gofmt -l .); \
	if [ -n "$$unformatted" ]; then printf 'not gofmt-ed:\n%s\n' "$$unformatted" >&2; exit 1; fi
	go vet ./...
	go tool staticcheck ./...
	go mod verify
	go mod tidy -diff
	@scripts/generated.sh

.PHONY: build
build: ## build bin/backstay
	go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/backstay ./cmd/backstay

.PHONY: bench
bench: server build ## measure backstay beside mydumper, mariadb-dump and restic (BENCH_FLAGS=-help lists the flags)
	go build -trimpath -o bin/bench ./test/bench
	exec bin/bench $(BENCH_FLAGS)

.PHONY: microbench
microbench: server ## run the Go benchmarks
	go test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 60m $(TEST_FLAGS) ./...

.PHONY: bench-freeze
bench-freeze: server ## measure how long writers wait at most during a backup
	go test -run '^$$' -bench Freeze -benchtime 1x -timeout 60m $(TEST_FLAGS) ./test/consistency

.PHONY: test-consistency
test-consistency: server ## change schemas at every moment of a backup, and wait for what is rare
	BACKSTAY_TEST_LONG=1 go test -count=1 -timeout 60m $(TEST_FLAGS) ./test/consistency

.PHONY: test-large
test-large: ## archives of 71 GiB that take little disk (BACKSTAY_TEST_LARGE_GIB=2 for less), an hour
	BACKSTAY_TEST_LONG=1 go test -count=1 -v -timeout 6h $(TEST_FLAGS) ./test/large

.PHONY: setup
setup: ## install what the tests need: MariaDB's programs, Chromium, axe-core
	@scripts/setup.sh browser

# What the demo and benchmarks need: no browser.
.PHONY: server
server:
	@scripts/setup.sh

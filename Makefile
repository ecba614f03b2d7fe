# Two targets do everything: `make run` and `make test`.
.DEFAULT_GOAL := help
CARGO ?= cargo
# Where `make run` keeps its data; ARGS are passed on to `kruxos up`.
DATA_DIR ?= $(HOME)/.local/share/kruxos
ARGS ?=

.PHONY: help build run test test-rust test-session test-clients test-conformance test-crash test-attacks test-vm fmt lint gen bench dist clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

build: ## Build the programs (release)
	$(CARGO) build --release --locked -p kruxos-cli -p kruxos-gateway
	$(CARGO) build --release --locked -p kruxos-jail

run: build ## Build what is needed and start everything in the foreground
	@exec target/release/kruxos --data-dir "$(DATA_DIR)" up $(ARGS)

test: test-rust test-session test-crash test-attacks test-conformance test-clients ## All tests; installs what they need
	@echo "all tests passed"

test-rust: .work/audit-venv/ready ## Unit, property and integration tests
	KRUXOS_TEST_PYTHON=$(CURDIR)/.work/audit-venv/bin/python $(CARGO) test --workspace --locked --quiet

# The independent verifier of the audit log needs a CBOR library.
.work/audit-venv/ready:
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check cbor2==6.3.0
	touch $@

test-session: ## An agent's working day on a clone of this repository, with approval and a tampered log
	tests/session/run.sh

test-crash: ## kill -9 in the middle of load, in a loop
	tests/crash/run.sh

test-attacks: ## The attack battery through the running gateway, as root and without privilege
	tests/attacks/run.sh

test-vm: ## Kernel limits in a guest with cgroup v2 (user-mode Linux, from Debian's packages)
	tests/vm/run.sh

test-conformance: ## The official MCP conformance suite against the running gateway
	tests/conformance/run.sh

test-clients: ## The official Python and TypeScript SDKs and the MCP Inspector
	tests/clients/run.sh

fmt: ## Format
	$(CARGO) fmt --all

lint: ## Format check, tidy, generated files, clippy with warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) xtask tidy
	$(CARGO) xtask gen --check
	$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings

gen: ## Regenerate everything that comes from definitions and errors.yaml
	$(CARGO) xtask gen

bench: ## Benchmarks; prints ratios
	$(CARGO) bench --workspace --locked

clean: ## Remove what was built
	$(CARGO) clean
	rm -rf .work

# The front door. Every target installs what it needs (Debian 12 packages, by root or sudo) and
# then calls tools/check or the program.
.DEFAULT_GOAL := help
.PHONY: help deps build test test-clients test-train demo bench check asan tsan fuzz format clean

PROGRAM := build/release/baleen

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## install every missing package (build, tests, sanitizers)
	@tools/install_deps.sh build test check

build: ## build the program: build/release/baleen
	@tools/install_deps.sh build
	@tools/check program

test: ## build and run every test but those of test-clients
	@tools/install_deps.sh build test
	@tools/install_clients.sh fast
	@tools/check test

test-clients: ## real coding agents and a browser against the server (downloads 2 GB of them once)
	@tools/install_deps.sh build test browser
	@tools/install_clients.sh all
	@tools/check clients

test-train: build ## the trainer of the pocket model against the engine (downloads PyTorch, 3 GB, once)
	@tools/install_deps.sh build test
	@test -x build/train/bin/pytest || { /usr/bin/python3 -m venv build/train && \
		build/train/bin/pip install --quiet --disable-pip-version-check './train[test]'; }
	@build/train/bin/pytest -q -p no:cacheprovider train/tests

demo: build ## synthesise a tiny checkpoint, run a prompt, print the cost table
	@tools/demo $(PROGRAM) build/demo

bench: build ## measure prefill and decode on a slice of V4-Flash (several GB on disk)
	@tools/bench $(PROGRAM) build/bench

check: deps ## what to run before a commit: format, arrows, build, tests
	@tools/check all

asan: deps ## tests under the address and undefined-behaviour sanitizers
	@tools/check asan

tsan: deps ## tests of threaded code under the thread sanitizer
	@tools/check tsan

fuzz: deps ## fuzz each parser briefly
	@tools/check fuzz

format: deps ## rewrite the C++ files in the house format
	@tools/format

clean: ## remove build/
	rm -rf build

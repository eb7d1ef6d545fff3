# SPDX-License-Identifier: MIT
# Verbs only; each does what is missing first. What they do is in tools/floe and port/port.mk.
.DEFAULT_GOAL := help
.PHONY: help setup setup-tests build wheel run test test-failed test-quick test-next test-fresh test-hosts test-wheel check bench mutate fuzz sim clean
PYTHON ?= python3
PY := .venv/bin/python
PYTEST := $(PY) -m pytest -c tools/pyproject.toml --rootdir=.
# Tests run side by side, one worker a processor; WORKERS=0 is one after the other, in one process.
WORKERS ?= auto
WORKED := -n $(WORKERS) --maxprocesses=4
export PYTHONPATH :=

help: ## show these verbs
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## install packages, .venv, upstream sources and the port archives: all that is missing
	@PYTHONPATH=tools $(PYTHON) -m floe.setup

setup-tests:
	@PYTHONPATH=tools $(PYTHON) -m floe.setup --tests

build: setup ## build every image of images/ into build/images/
	@mkdir -p build/images
	@for d in images/*/image.toml; do n=$$(basename $$(dirname $$d)); \
	    .venv/bin/floe build images/$$n -o build/images/$$n.elf || exit $$?; done

wheel: setup ## make dist/floe-*.whl, which pip installs where there is no compiler
	@$(PY) -m floe.cli.wheel

run: setup ## boot images/web, fetch a page from it, go on serving until Ctrl-C
	@$(PY) -m floe.cli.demo

test: setup-tests ## run all tests
	@$(PYTEST) $(WORKED) tests

test-failed: setup-tests ## run what failed the last time, one test after the other
	@$(PYTEST) --last-failed --last-failed-no-failures=none tests

test-quick: setup-tests ## what to run before each commit: five minutes at most
	@$(PYTEST) -q $(WORKED) tests/check tests/c tests/errors tests/support tests/tools tests/boot/test_hello.py \
	    tests/boot/test_freeze.py tests/target/test_exit.py

test-next: export FLOE_UPSTREAM = next
test-next: setup-tests ## upstream's suite and the images, with the next release of MicroPython (half an hour)
	@$(PYTEST) $(WORKED) tests/boot tests/target tests/upstream

test-fresh: setup-tests ## the README's commands on fresh Debians, as root and as a user (root; hours)
	@$(PY) -m tests.fresh

test-hosts: setup-tests ## VMs on hosts that are Debian 13s, with their libvirt and QEMU (root; a quarter of an hour)
	@$(PY) -m tests.fresh.trixiehosts

test-wheel: setup-tests ## the wheel on Debians that have no compiler (root; minutes)
	@$(PY) -m tests.fresh.wheel

check: setup-tests ## format, lint, types, layering, size limits, docs
	.venv/bin/clang-format --dry-run -Werror $$(git ls-files '*.c' '*.h')
	$(PY) -m ruff check --config tools/pyproject.toml .
	$(PY) -m ruff format --check --config tools/pyproject.toml .
	$(PY) -m mypy --config-file tools/pyproject.toml tools/floe
	@$(PYTEST) -q $(WORKED) tests/check

bench: setup-tests ## measure, print JSON (minutes)
	@$(PY) -m tests.bench

mutate: setup-tests ## change lines of a copy, one at a time, and see whether a test notices (ARGS="--help"; hours)
	@$(PY) -m tests.mutate $(ARGS)

fuzz: setup-tests ## feed the parsers with invented bytes, under sanitizers (ARGS="--help"; minutes)
	@$(PY) -m tests.fuzz $(ARGS)

sim: setup-tests ## simulate drivers, stack and servers with faults, a run a seed (ARGS="--help")
	@$(PY) -m tests.sim $(ARGS)

clean: ## remove what was built; fetched sources and .venv stay
	@[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name upstream ! -name pypi -exec rm -rf {} +

# Needs only make, a Python >= 3.11 and a package index: every target installs what it uses by itself.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# pytest workers of `check-all`; PYTEST adds arguments, as in `make check PYTEST='-k refresh'`.
JOBS ?= 3
PYTEST ?=

# What `check-all` takes from Debian where the machine does not have it.
DEBIAN_PACKAGES := chromium haproxy iproute2 nginx-light pgbouncer postgresql prometheus redis-server systemd

.PHONY: help run check check-all chaos bench fix standards clean install

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: install ## set everything up and start an authority on this machine
	@exec .venv/bin/mintmark dev

check: install ## linters, types, layers and all fast tests (under two minutes)
	@sh scripts/check fast $(PYTEST)

check-all: install ## check, and the slow tests: browsers, other clients, kill -9, long properties
	@sh scripts/debian-packages $(DEBIAN_PACKAGES)
	@sh scripts/node-packages tests/e2e tests/e2e/*
	@sh scripts/check all -n $(JOBS) $(PYTEST)

chaos: install ## kill nodes, crash PostgreSQL and Redis, pull cables, and look for anything lost (CHAOS="--minutes 60")
	@sh scripts/debian-packages $(DEBIAN_PACKAGES)
	@.venv/bin/python -m tests.chaos $(CHAOS)

bench: install ## measure, and compare with the limits of this machine
	@.venv/bin/python -m bench

fix: install ## format, and mend what the linter can mend
	@.venv/bin/ruff format
	@.venv/bin/ruff check --fix

standards: install ## write into docs/standards.md which tests show which row
	@.venv/bin/python scripts/standards.py

clean: ## remove what these targets made (no database, no key, no settings)
	rm -rf .venv .tools .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	rm -rf tests/e2e/node_modules tests/e2e/*/node_modules
	find bench scripts src tests -name __pycache__ -type d -prune -exec rm -rf {} +

install:
	@sh scripts/bootstrap

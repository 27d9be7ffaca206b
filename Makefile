# Everything a person or a CI machine does here. `make` alone prints this list.
# Each target brings what it needs: no step has to be run by hand first.

PROFILE ?= main
ARGS ?=
BIN := .venv/bin
SOURCES := gatewayd bus workers conf tests packaging

.DEFAULT_GOAL := help
.PHONY: help setup develop peers run test check format bench conformance clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup:  ## create .venv and install gatewayd, the local model's runtime and its weights
	@packaging/setup/setup.sh runtime

run: setup  ## set up what is missing and start the profile in the foreground (PROFILE=main)
	@exec $(BIN)/gatewayd --profile $(PROFILE) $(ARGS)

develop:  ## setup, and the tools of `check` and `test`
	@packaging/setup/setup.sh develop

peers: develop  ## the programs the tests talk to: Node, npm packages, Chromium
	@$(BIN)/python packaging/setup/peers.py

test: peers  ## run all tests (ARGS="-k word -x" reaches pytest)
	@$(BIN)/python -m pytest $(ARGS)

check: develop  ## format, lint, import contracts and types; changes no file
	@BIN=$(BIN) packaging/setup/check.sh $(SOURCES)

format: develop  ## rewrite the sources as `check` wants them
	@$(BIN)/ruff format $(SOURCES) && $(BIN)/ruff check --fix $(SOURCES)

bench: peers  ## measure gatewayd beside npm ws, in one run (ARGS="front" picks a part)
	@$(BIN)/python -m tests.bench $(ARGS)

conformance: develop  ## the Autobahn WebSocket testsuite against the port (minutes)
	@$(BIN)/python -m tests.conformance $(ARGS)

clean:  ## delete what the targets above created (not a profile's state)
	@rm -rf .venv .venv-conformance build dist *.egg-info tests/peers/node_modules tests/peers/.bin
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis tests/bench/.build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One verb each; `make` alone explains them. Each verb is a script of scripts/, which can be called by itself too.

.DEFAULT_GOAL := help
.PHONY: setup run demo test lint types proto bench clean help

PYTHON ?=
GOODS ?= scripts/goods.csv
SUITE ?=
ARGS ?=
export PYTHON

setup: ## make .venv with everything in it (PYTHON=python3.13 picks the interpreter); the others call it themselves
	@scripts/setup

run: setup ## start both services under .run/, play the story, serve until Ctrl-C (GOODS=my.csv: your own goods)
	@.venv/bin/python -m scripts.run --goods '$(GOODS)'

demo: setup ## play the same story in a folder and on ports of its own, check every claim, exit 0 or 1
	@.venv/bin/python -m scripts.demo --goods '$(GOODS)'

test: setup ## lint, types and every test suite (SUITE="unit e2e" only those; ARGS="-k name" goes to pytest)
	@scripts/test $(SUITE) -- $(ARGS)

lint: setup ## style, the direction of imports, stubs as fresh as their protos
	@scripts/lint

types: setup ## mypy, strict
	@.venv/bin/mypy

proto: setup ## generate the stubs and their types from proto/
	@scripts/proto

bench: setup ## start both services, load them, check the books, print a table (ARGS="--help" tells what can be chosen)
	@.venv/bin/python -m scripts.bench $(ARGS)

clean: ## take away what the verbs made: .venv, caches, and the data of `make run` under .run/
	@scripts/clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

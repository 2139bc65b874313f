# One verb each; `make` alone explains them. Each verb is a script of scripts/, which can be called by itself too.

.DEFAULT_GOAL := help
.PHONY: setup run demo test test-cluster lint types proto bench bench-cluster clean help
.PHONY: cluster-install cluster-up cluster-status cluster-logs cluster-down

PYTHON ?=
GOODS ?= scripts/goods.csv
SUITE ?=
ARGS ?=
PORTS ?=
PURGE ?=
export PYTHON

setup: ## make .venv with everything in it (PYTHON=python3.13 picks the interpreter); the others call it themselves
	@scripts/setup

run: setup ## start both services under .run/, play the story, serve until Ctrl-C (GOODS=my.csv: your own goods)
	@.venv/bin/python -m scripts.run --goods '$(GOODS)'

demo: setup ## play the same story in a folder and on ports of its own, check every claim, fail when one does not hold
	@.venv/bin/python -m scripts.demo --goods '$(GOODS)'

test: setup ## lint, types and every test suite (SUITE="unit e2e" only those; ARGS="-k name" goes to pytest)
	@scripts/test $(SUITE) -- $(ARGS)

test-cluster: setup ## the suites on MariaDB, Redis, RocketMQ and Consul, which it starts for itself (SUITE and ARGS as above)
	@scripts/test-cluster $(SUITE) -- $(ARGS)

cluster-install: setup ## bring what the local cluster runs, by apt, Maven and Go; what is there is left as it is
	@.venv/bin/python -m scripts.cluster install

cluster-up: setup ## start engines and two replicas of each service as plain processes (PORTS=17300: another block of ports)
	@.venv/bin/python -m scripts.cluster up $(if $(PORTS),--ports $(PORTS)) $(ARGS)

cluster-status: setup ## how each of them is
	@.venv/bin/python -m scripts.cluster status

cluster-logs: setup ## what they said last (ARGS="order-1 -f" goes on with one of them)
	@.venv/bin/python -m scripts.cluster logs $(ARGS)

cluster-down: setup ## end all of them; their data stays for the next time (PURGE=1 takes it away)
	@.venv/bin/python -m scripts.cluster down $(if $(PURGE),--purge)

lint: setup ## style, the direction of imports, stubs as fresh as their protos
	@scripts/lint

types: setup ## mypy, strict
	@.venv/bin/mypy

proto: setup ## generate the stubs and their types from proto/
	@scripts/proto

bench: setup ## measure on embedded defaults: loads, books, tables, JSON, plots (ARGS="--help" tells what can be chosen)
	@.venv/bin/python -m scripts.bench $(ARGS)

bench-cluster: setup ## the same on MariaDB, Redis, RocketMQ and Consul, which it starts for itself and takes down
	@.venv/bin/python -m scripts.bench --world cluster $(ARGS)

clean: ## take away what the verbs made: .venv, caches, and .run/ with all data, logs and benchmark results
	@scripts/clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

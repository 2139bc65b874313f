# One verb each; `make` alone lists them. Each verb is a program of scripts/, which can be called by itself too.

.DEFAULT_GOAL := help
.PHONY: setup run demo test test-cluster long lint types docs proto bench bench-cluster clean help
.PHONY: cluster-install cluster-up cluster-status cluster-logs cluster-down

# What is given goes to the programs by the environment, exactly as it was typed: text pasted into a recipe would be code,
# and make itself expands `$`. ARGS is meant to be words of a command line, quotes and all.
GIVEN := PYTHON GOODS CURRENCY ENCODING STORY SUITE PORTS PURGE
ARGS ?=
$(foreach name,$(GIVEN),$(if $(filter-out undefined,$(origin $(name))),\
  $(eval override $(name) := $$(value $(name)))$(eval export $(name))))

setup: ## make .venv with everything in it (PYTHON=python3.13 picks the interpreter); the others call it themselves
	@scripts/setup

run: setup ## start both services under .run/, play the story, serve until Ctrl-C (GOODS=my.csv: your goods; STORY=off)
	@.venv/bin/python -m scripts.run

demo: setup ## play the same story in a folder and on ports of its own, check every claim, fail when one does not hold
	@.venv/bin/python -m scripts.demo

test: setup ## lint, types and every test suite (SUITE="unit e2e" only those; ARGS="-k name" goes to pytest)
	@scripts/test $$SUITE -- $(ARGS)

test-cluster: setup ## the suites on MariaDB, Redis, RocketMQ and Consul, which it starts for itself (SUITE and ARGS as above)
	@scripts/test-cluster $$SUITE -- $(ARGS)

long: ## every suite, without engines and with them, the long tests whole (many rounds; takes long)
	@REBACK_LONG=1 bash .ci/run

cluster-install: setup ## install what the local cluster runs, by apt, Maven and Go, where it is missing
	@.venv/bin/python -m scripts.cluster install

cluster-up: setup ## start engines and two replicas of each service as plain processes (PORTS=17300: another block of ports)
	@.venv/bin/python -m scripts.cluster up $(ARGS)

cluster-status: setup ## ask each of them whether it is healthy
	@.venv/bin/python -m scripts.cluster status

cluster-logs: setup ## show their last log lines (ARGS="order-1 -f" follows one of them)
	@.venv/bin/python -m scripts.cluster logs $(ARGS)

cluster-down: setup ## stop all of them; their data stays for the next time (PURGE=1 removes it)
	@.venv/bin/python -m scripts.cluster down $${PURGE:+--purge}

lint: setup ## style, import contracts, stubs that match their protos
	@scripts/lint

types: setup ## mypy, strict
	@.venv/bin/mypy

docs: setup ## write docs/settings.md from the settings classes
	@.venv/bin/python -m scripts.settings_page

proto: setup ## generate the stubs and their types from proto/
	@scripts/proto

bench: setup ## measure on embedded defaults: loads, books, tables, JSON, plots (ARGS="--help" lists the options)
	@.venv/bin/python -m scripts.bench $(ARGS)

bench-cluster: setup ## the same on MariaDB, Redis, RocketMQ and Consul, which it starts and stops itself
	@.venv/bin/python -m scripts.bench --world cluster $(ARGS)

clean: ## remove what these commands made: .venv, caches, and .run/ with all data, logs and benchmark results
	@scripts/clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

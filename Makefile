# Every command of the project. `make help` lists them. Works with GNU make 3.81 and bash 3.2, which macOS has.
SHELL := /bin/bash
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
LOCAL := PORT='$(PORT)' $(BIN)/python -m deploy.local
# Also where the environment says otherwise, what Python compiles is kept: to compile every test takes longer than to collect them.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest --numprocesses=auto --dist=worksteal
CLOUD := PROJECT='$(PROJECT)' REGION='$(REGION)' DRY_RUN='$(DRY_RUN)' PYTHON='$(CURDIR)/$(BIN)/python'
# The rules, without the tests that search for examples, and one event through every function: what another Python could break.
QUICK := tests/shared/*/rules 'tests/test_boot.py::test_an_event_travels_through_the_functions_as_they_are_deployed[sqlite]'

.DEFAULT_GOAL := help
.PHONY: help run fresh logs serve test test-pythons quick test-deploy histories simulate check format lint types bench \
	deploy status rollback destroy env setup hooks lock picture vendored clean mutants faults busy FORCE

help: ## This list
	@awk -F ':.*## ' '/^## / { printf "\n%s\n", substr($$0, 4) } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## Try it

run: $(VENV)/.run ## Everything on this machine with a sandbox Omneo and Klaviyo, and one event sent through it: [PORT=8080]
	@$(LOCAL) run

logs: $(VENV)/.run ## What all functions write, in one stream: [TENANT=] [JOB=] [PORT=8080]
	@$(LOCAL) logs --tenant='$(TENANT)' --job='$(JOB)'

fresh: $(VENV)/.run ## Forget the tenant, keys and data that make run keeps: [PORT=8080]
	@$(LOCAL) fresh

serve: $(VENV)/.run ## The bundle on this machine, talking to what the environment names: [PORT=8080]
	@$(LOCAL) serve

## Change it

setup: $(VENV)/.test ## Set up .venv with everything: [PYTHON=/path/to/python3.13]

check: format lint types histories test ## What CI runs first: format, lint, types, histories, tests

test: $(VENV)/.test ## The test suite
	@$(PYTEST)

test-pythons: $(VENV)/.test ## The quick part of the suite on each Python that is found, 3.11 to 3.13
	@deploy/local/find_python.sh --all | while read -r version program; do \
		test -e "$(VENV)/bin/python$$version" && name='$(VENV)' || name=".venv-$$version"; \
		UV='$(CURDIR)/$(BIN)/uv' $(MAKE) --no-print-directory quick VENV="$$name" PYTHON="$$program" </dev/null || exit 1; \
	done

test-deploy: $(VENV)/.test ## Upgrade, rollback, teardown and half-failed deployments, with the real gcloud against a played Google (minutes)
	@$(BIN)/python -m pytest -m deploy tests/deploy/gcp

histories: $(VENV)/.test ## The 2,865 simulated histories that make test leaves out: the same at every run, and each judged
	@$(PYTEST) -m histories tests/world

simulate: $(VENV)/.test ## Histories that chance has made, one after the other, and the stories of those that end wrong: [SEEDS=3000] [FROM=0]
	@$(BIN)/python -m tests.world --seeds='$(or $(SEEDS),3000)' --from='$(or $(FROM),0)'

faults: $(VENV)/.test ## Real processes, killed and broken in every way, then counted (Linux): [SECONDS=600] [TENANTS=3] [QUICK=1]
	@$(BIN)/python -m tests.faults --seconds='$(or $(SECONDS),600)' --tenants='$(or $(TENANTS),3)' $(if $(QUICK),--quick)

busy: $(VENV)/.test ## A busy day in minutes, with one noisy tenant: the others' latency, and what grows (Linux): [SECONDS=600] [TENANTS=20]
	@$(BIN)/python -m tests.faults.busy --seconds='$(or $(SECONDS),600)' --tenants='$(or $(TENANTS),20)'

mutants: $(VENV)/.test ## Small changes of the core modules, and those that their tests miss: [MODULES=shared/...] [SEED=1] [MOST=20]
	@$(BIN)/python -m tests.mutants --seed='$(or $(SEED),1)' --most='$(or $(MOST),20)' $(MODULES)

format: $(VENV)/.test ## Is every file formatted?
	@$(BIN)/ruff format --check --quiet . || { echo "run $(BIN)/ruff format ."; exit 1; }

lint: $(VENV)/.test ## The linter
	@$(BIN)/ruff check --quiet .

types: $(VENV)/.test ## The types
	@$(BIN)/mypy

bench: $(VENV)/.test ## Benchmarks, as ratios against baselines measured in the same run
	@$(BIN)/python -m tests.bench

hooks: $(VENV)/.test ## Let git run format, lint and types before each commit
	@$(BIN)/pre-commit install

lock: $(VENV)/.test ## Pin everything that the direct needs bring, with hashes: [UPGRADE=all or a package]
	@$(BIN)/python -m deploy.locking --upgrade='$(UPGRADE)'

picture: $(VENV)/.test ## The pictures of the console in README and guide, anew, with Chromium
	@$(BIN)/python -m tests.browser.picture

vendored: $(VENV)/.test ## The console's files of others, anew from npm, by its vendored.toml
	@$(BIN)/python -m deploy.local.console.vendoring

clean: ## Remove the environments and all local data
	@rm -rf .venv .venv-* .local

## Google Cloud

deploy: $(VENV)/.run ## The whole bundle, again and again safely: PROJECT= REGION= DOMAIN= [DRY_RUN=1 [FORMAT=json]] [YES=1] [WATCH_MINUTES=] [COST_CEILING=] [ANYWAY=1]
	@$(CLOUD) DOMAIN='$(DOMAIN)' ONLY='$(ONLY)' YES='$(YES)' ANYWAY='$(ANYWAY)' FORMAT='$(FORMAT)' WATCH_MINUTES='$(WATCH_MINUTES)' COST_CEILING='$(COST_CEILING)' deploy/gcp/deploy.sh

status: $(VENV)/.run ## What stands where: revisions, calls, queues, alerts, and what costs money: PROJECT= REGION=
	@$(CLOUD) deploy/gcp/status.sh

rollback: $(VENV)/.run ## Calls back to the revisions before the last upgrade: PROJECT= REGION= [FUNCTION=]
	@$(CLOUD) FUNCTION='$(FUNCTION)' deploy/gcp/rollback.sh

env: $(VENV)/.run ## Print the environment of python -m deploy.tenants for what is deployed: PROJECT=
	@$(CLOUD) deploy/gcp/env.sh

destroy: $(VENV)/.run ## List all that deploy made, ask, and remove it: PROJECT= REGION= [YES=1]
	@$(CLOUD) YES='$(YES)' deploy/gcp/destroy.sh

quick: $(VENV)/.test
	@echo "The quick part of the suite on $$($(BIN)/python --version)"
	@$(BIN)/python -m pytest --numprocesses=auto -m 'not hypothesis and not deploy' $(QUICK)

# One environment, filled in two steps: what serving needs is there in seconds, what testing needs on demand. A Python that is named
# is looked at each time; install.sh does nothing where all is as it should be.
$(VENV)/.run: deploy/locks/run.txt $(if $(PYTHON),FORCE)
	@deploy/local/install.sh '$(VENV)' deploy/locks/run.txt '$(PYTHON)'

$(VENV)/.test: deploy/locks/test.txt $(VENV)/.run
	@deploy/local/install.sh '$(VENV)' deploy/locks/test.txt

# Every command of the project. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080

.DEFAULT_GOAL := help
.PHONY: help setup run serve test test-deploy simulate check format lint types bench deploy rollback destroy lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-11s %s\n", $$1, $$2}'

run: $(VENV)/.run ## Everything on one machine with a sandbox Omneo and Klaviyo, and one event sent through it
	@PORT=$(PORT) $(BIN)/python -m deploy.local run

serve: $(VENV)/.run ## The bundle on one machine, talking to what the environment names
	@PORT=$(PORT) $(BIN)/python -m deploy.local serve

test: $(VENV)/.test ## The whole test suite
	@$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal

test-deploy: $(VENV)/.test ## Upgrade, rollback, teardown and half-failed deployments, with the real gcloud against a played Google (minutes)
	@$(BIN)/python -m pytest -m deploy tests/deploy/gcp

simulate: $(VENV)/.test ## Histories of the simulated world, one after the other: SEEDS=200000 [FROM=3000]
	@$(BIN)/python -m tests.world --seeds '$(or $(SEEDS),3000)' --from '$(or $(FROM),0)'

check: format lint types test ## What CI runs: format, lint, types, tests

format: $(VENV)/.test
	@$(BIN)/ruff format --check --quiet . || { echo "run $(BIN)/ruff format ."; exit 1; }

lint: $(VENV)/.test
	@$(BIN)/ruff check --quiet .

types: $(VENV)/.test
	@$(BIN)/mypy

bench: $(VENV)/.test ## Benchmarks, as ratios against baselines measured in the same run
	@$(BIN)/python -m tests.bench

deploy: $(VENV)/.run ## The whole bundle to Google Cloud, again and again safely: PROJECT= REGION= DOMAIN= [DRY_RUN=1]
	@PROJECT='$(PROJECT)' REGION='$(REGION)' DOMAIN='$(DOMAIN)' DRY_RUN='$(DRY_RUN)' ONLY='$(ONLY)' deploy/gcp/deploy.sh

rollback: $(VENV)/.run ## Calls back to the revisions before the last upgrade: PROJECT= REGION= [FUNCTION=]
	@PROJECT='$(PROJECT)' REGION='$(REGION)' FUNCTION='$(FUNCTION)' DRY_RUN='$(DRY_RUN)' deploy/gcp/rollback.sh

destroy: $(VENV)/.run ## List all that deploy made, ask, and remove it: PROJECT= REGION= [YES=1]
	@PROJECT='$(PROJECT)' REGION='$(REGION)' YES='$(YES)' DRY_RUN='$(DRY_RUN)' deploy/gcp/destroy.sh

setup: $(VENV)/.test ## Set up .venv with everything

lock: $(VENV)/.test ## List what an unpinned install of the direct needs would bring today
	@$(BIN)/pip install --dry-run --ignore-installed --quiet --report - \
		$$(sed '/^# brought/,$$d; s/ *#.*//; /^$$/d' requirements.txt) \
		| $(BIN)/python -c 'import json,sys; print("\n".join(sorted("{name}=={version}".format(**p["metadata"]) for p in json.load(sys.stdin)["install"])))'

clean: ## Remove the environment and all local data
	@rm -rf $(VENV) .local

# One environment, filled in two steps: what serving needs is there in seconds, what testing needs on demand.
$(VENV)/.run: requirements.txt deploy/local/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
		|| { echo "Python 3.11 is needed; name it with PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Setting up $(VENV) (once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r deploy/local/requirements.txt
	@touch $@

$(VENV)/.test: $(VENV)/.run tests/requirements.txt
	@echo "Adding what the tests need to $(VENV) (once)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r tests/requirements.txt
	@touch $@

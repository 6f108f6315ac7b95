# Opportune. `make run` serves, `make test` tests; both set up everything they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv
CLIENTS := tests/clients
# LightFM's own flags tie the binary to the machine that built it; these are portable and as fast. They are what
# -ffast-math stands for, one by one: the flag itself would make every process that imports LightFM flush
# subnormal numbers to zero (docs/decisions/0008-dependencies.md).
FAST_MATH := -fno-math-errno -ffinite-math-only -fno-signed-zeros -fno-trapping-math -fassociative-math \
	-freciprocal-math -fno-rounding-math -fno-signaling-nans -fcx-limited-range
LIGHTFM_FLAGS := -O3 $(if $(filter x86_64,$(shell uname -m)),-march=x86-64-v3) $(FAST_MATH)

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev setup-clients run test e2e faults check fmt lint types imports stats cover fuzz train lock clean

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## Create the environment that serves

setup-dev: $(VENV)/.installed-dev ## Create the environment that also tests

$(VENV)/.installed: requirements.txt pyproject.toml
	@PYTHON="$(PYTHON)" CFLAGS="$(LIGHTFM_FLAGS)" sh scripts/setup.sh $(VENV) requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt pyproject.toml
	@PYTHON="$(PYTHON)" CFLAGS="$(LIGHTFM_FLAGS)" sh scripts/setup.sh $(VENV) requirements-dev.txt
	@touch $@ $(VENV)/.installed

setup-clients: ## Install what the tests with real SDKs, a browser and nginx need
	@sh scripts/setup_clients.sh $(CLIENTS)

run: setup ## Serve the demo shop, or OPPORTUNE_CATALOG=/path/to/yours
	@exec $(BIN)/opportune run

test: setup-dev setup-clients ## Run every test
	@$(BIN)/pytest

e2e: setup-dev setup-clients ## Run only the tests that start the real server
	@$(BIN)/pytest -m e2e

faults: setup-dev setup-clients ## Break the real server in 200 random ways (FAULT_SEEDS, FAULT_SEED, FAULT_ONLY; an hour)
	@$(BIN)/python -m tests.faults.campaign

check: setup-dev fmt-check lint types imports ## Format, lint, types and import contracts

.PHONY: fmt-check
fmt-check:
	@$(BIN)/ruff format --check --quiet . || { echo "make fmt would change the files above"; exit 1; }

fmt: setup-dev ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix --quiet .

lint: setup-dev
	@$(BIN)/ruff check --quiet .

types: setup-dev
	@$(BIN)/mypy

imports: setup-dev
	@$(BIN)/lint-imports --no-logo

stats: setup-dev ## Run only the simulations of error rates and coverage
	@$(BIN)/pytest -m statistical

cover: setup-dev ## Measure branch coverage
	@$(BIN)/pytest --cov=experiments --cov=recommender --cov=service --cov-branch --cov-report=term-missing:skip-covered

fuzz: setup-dev ## Send 200,000 odd requests to every door of a real server
	@$(BIN)/python -m scripts.fuzz_doors

train: setup ## Train a model on what the store holds
	@$(BIN)/opportune train

lock: setup-dev ## Renew requirements*.txt from pyproject.toml
	@$(BIN)/pip install --quiet uv
	@$(UV) pip compile pyproject.toml --generate-hashes --universal --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements.txt
	@$(UV) pip compile pyproject.toml --extra dev --constraint requirements.txt --generate-hashes --universal --no-emit-index-url --no-annotate --no-header --quiet --output-file requirements-dev.txt

clean: ## Remove the environment and caches; data stay
	@rm -rf $(VENV) $(CLIENTS)/node_modules $(CLIENTS)/.venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info

# Everything stands in .venv; nothing but Python 3.11 or newer and make is needed beforehand.

VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# The sample site of the demo; `make dev` opens the UI on it unless the environment names another site.
DEMO := $(CURDIR)/.demo
export DAGSTER_HOME ?= $(CURDIR)/.dagster
export THYWILL_DATABASE_URL ?= $(DEMO)/site/thywill.db
export TEXT_ARCHIVE_BASE_DIR ?= $(DEMO)/site/text_archives
export THYWILL_DATA_DIR ?= $(DEMO)/data

.PHONY: help setup demo dev test lint types definitions unit format benchmarks clean

help:  ## Say what can be made.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/\1\t\2/' | expand -t 14

setup: $(INSTALLED)  ## Install the project and its tools into .venv.

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: setup  ## Build a damaged sample site, show the damage, repair it, compare with the truth.
	$(BIN)/thywill-dagster demo --dir $(DEMO)

dev: setup  ## Open the UI at http://127.0.0.1:3000, on the demo's site unless the environment names another.
	@test -e $(THYWILL_DATABASE_URL) || test $(THYWILL_DATABASE_URL) != $(DEMO)/site/thywill.db \
	  || $(BIN)/thywill-dagster demo --dir $(DEMO) --build-only
	@mkdir -p $(DAGSTER_HOME)
	@test -e $(DAGSTER_HOME)/dagster.yaml || cp thywill_dagster/dagster.yaml $(DAGSTER_HOME)/dagster.yaml
	PATH=$(abspath $(BIN)):$$PATH $(BIN)/dagster dev --workspace workspace.yaml

test: lint types definitions unit  ## Lint, type check, load the definitions, run all tests.

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

definitions: setup
	env -u DAGSTER_HOME $(BIN)/dagster definitions validate --workspace workspace.yaml --log-level warning

unit: setup
	env -u DAGSTER_HOME -u THYWILL_DATABASE_URL -u TEXT_ARCHIVE_BASE_DIR -u THYWILL_DATA_DIR $(BIN)/pytest

format: setup  ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove what was made here: the environment, the demo, the local Dagster home.
	rm -rf $(VENV) $(DEMO) .dagster .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

.DEFAULT_GOAL := help
.SHELLFLAGS := -ec
.DELETE_ON_ERROR:

# The Python that makes the environment: 3.11 or newer. `make setup PYTHON=/path/to/python3.11`.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3 python,\
	$(if $(shell $(name) -c 'import sys; print("yes" * (sys.version_info >= (3, 11)))' 2>/dev/null),$(name))))

# Where else pip may look, for a mirror or the CPU builds of torch: see CONTRIBUTING.md.
PIP_OPTIONS ?=

# Stages start `python`; it is the environment's, whatever the caller has activated.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DO_NOT_TRACK := true
export GX_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true

INSTALLED := .venv/.installed

# Examples that each fuzz test tries, drawn anew on every run; the fast tests try 60, always the same.
FUZZ_EXAMPLES ?= 3000

.PHONY: help setup repro test test-all fuzz check format prove clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /	/' | expand -t 12

setup: $(INSTALLED) ## Create the environment in .venv, as pinned; does nothing the second time

$(INSTALLED): requirements.lock.txt pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "sitesynth needs Python 3.11 or newer, and found none on PATH." >&2; \
		echo "Install it, or name it: make setup PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "sitesynth needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Installing the environment into .venv, as pinned; this takes some minutes."
	@# An environment whose making was interrupted has no pip yet.
	.venv/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@# torch first and exactly, so that pip takes the build that fits the machine.
	.venv/bin/python -m pip install --quiet $(PIP_OPTIONS) -c requirements.lock.txt \
		"$$(grep '^torch==' requirements.lock.txt)"
	.venv/bin/python -m pip install --quiet $(PIP_OPTIONS) -r requirements.lock.txt
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

repro: setup ## Bring every result up to date, and print the comparison of the strategies
	dvc repro
	@echo
	@sitesynth compare
	@echo
	@echo "The report, with plots and images: $(CURDIR)/results/report/index.html"

test: setup ## Run the fast tests
	python -m pytest -n 2 --dist loadfile -m "not slow"

test-all: setup ## Run all tests, the whole study among them
	python -m pytest -n 2 --dist loadfile

fuzz: setup ## Damage scans, tables and bundles for some minutes: FUZZ_EXAMPLES edits of each kind
	SITESYNTH_FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) python -m pytest -n 0 -q --durations=0 \
		tests/unit/test_fuzzing.py tests/unit/generators/test_bundle_fuzzing.py

check: setup ## Check format, style, types and import layers
	ruff format --check
	ruff check
	mypy
	lint-imports --no-logo

format: setup ## Rewrite the code as the linter wants it
	ruff check --fix
	ruff format

prove: setup ## Run the study from main and from here; compare every output (for a refactor)
	.ci/prove

clean: ## Delete outputs and the tools' caches; `make repro` brings the outputs back
	rm -rf bundles checkpoints data models results/checks results/evaluation results/report
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

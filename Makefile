# Everything runs from a fresh machine with Python 3.11+ and make: each target sets up what it needs.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DEV := $(VENV)/.stamp-dev
DOCS := $(VENV)/.stamp-docs

# Tests run in parallel processes: one BLAS thread each is faster than two pools fighting.
ONE_THREAD := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help setup test demo verify lint format docs bench clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile
	@echo "Variables: PYTHON=$(PYTHON)  VENV=$(VENV)  ARGS= (passed on to pytest or the demo)"

$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "jko needs Python 3.11 or newer, and '$(PYTHON)' was not found: run make with PYTHON=/path/to/python3.11." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "jko needs Python 3.11 or newer, and '$(PYTHON)' is older: run make with PYTHON=/path/to/python3.11." >&2; exit 1; }
	"$(PYTHON)" -m venv "$(VENV)" || { rm -f "$@"; \
	  echo "'$(PYTHON)' could not make a virtual environment: install its venv and pip modules (on Debian and Ubuntu, python3-venv)." >&2; exit 1; }

$(DEV): pyproject.toml | $(BIN)/python
	$(PIP) install --quiet -e '.[dev,demo]'
	@touch $@

$(DOCS): $(DEV)
	$(PIP) install --quiet -e '.[docs]'
	@touch $@

setup: $(DEV) ## create the environment and install jko with its tools

test: $(DEV) ## run the tests
	$(ONE_THREAD) MPLBACKEND=Agg $(BIN)/python -m pytest -n 2 $(ARGS)

demo: $(DEV) ## run the main demo on real data
	$(BIN)/jko demo ift $(ARGS)

verify: $(DEV) ## check every identity of the theory numerically
	$(ONE_THREAD) $(BIN)/jko verify $(ARGS)

lint: $(DEV) ## check style, format, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV) ## format the code and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS) ## build the documentation in docs/_build/html
	$(ONE_THREAD) MPLBACKEND=Agg $(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

bench: $(DEV) ## run every script in benchmarks/
	@for script in benchmarks/[!_]*.py; do \
	  if [ ! -e "$$script" ]; then echo "There are no benchmarks yet."; exit 0; fi; \
	  echo "== $$script"; \
	  $(ONE_THREAD) $(BIN)/python "$$script" || exit 1; \
	done

clean: ## remove caches and built files, keep the environment
	rm -rf build dist docs/_build docs/auto_examples docs/generated
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find jko tests demos benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean ## clean, and remove the environment too
	rm -rf "$(VENV)"

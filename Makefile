# Everything runs from a fresh machine with Python 3.11+ and make: each target sets up what it needs.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
DEV := $(VENV)/.stamp-dev
DOCS := $(VENV)/.stamp-docs

# The core alone: an environment without the extras.
CORE := $(VENV)-core
CORE_STAMP := $(CORE)/.stamp-core

# OpenBLAS picks its kernels by the processor; these are those of older ones, and every x86-64
# processor of the last ten years can run them.
ARITHMETICS := Haswell Nehalem
NUMERICAL := $(addprefix tests/,analytic contract demos/test_documents.py distances doors dro energies \
  flows fuzz geometries identities kernels matching measures numerics order paths pde \
  sampling solvers vi)

# Tests run in parallel processes: one BLAS thread each is faster than two pools fighting.
ONE_THREAD := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help setup test core arithmetics demo verify lint hooks format docs bench package clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile
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

# Many tests start processes of their own, and each would compile the package again. Tests of a
# file stay in one process, which imports and prepares what they share, until one has nothing left.
test: $(DEV) ## run the tests
	@$(BIN)/python -m compileall -q jko
	$(ONE_THREAD) MPLBACKEND=Agg $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

$(CORE_STAMP): pyproject.toml
	"$(PYTHON)" -m venv "$(CORE)"
	$(CORE)/bin/python -m pip --disable-pip-version-check install --quiet -e '.[test]'
	@touch $@

core: $(CORE_STAMP) ## run the tests of the core in an environment without the extras
	JKO_CORE_ALONE=1 $(ONE_THREAD) $(CORE)/bin/python -m pytest -n 2 tests/test_core_alone.py tests/test_package.py \
	  tests/cli tests/kernels tests/measures tests/numerics tests/solvers/hellinger $(ARGS)

arithmetics: $(DEV) ## run the numerical tests under the arithmetic of older processors
	@if [ -n "$$OPENBLAS_CORETYPE" ]; then \
	  echo "This machine has set OPENBLAS_CORETYPE=$$OPENBLAS_CORETYPE itself: it is left alone, and nothing is run."; \
	  exit 0; \
	fi; \
	for core in $(ARITHMETICS); do \
	  echo "== OPENBLAS_CORETYPE=$$core"; \
	  OPENBLAS_CORETYPE=$$core $(ONE_THREAD) MPLBACKEND=Agg $(BIN)/python -m pytest -n 2 $(NUMERICAL) $(ARGS) \
	    || exit 1; \
	done

demo: $(DEV) ## run the main demo on real data
	$(BIN)/jko demo ift $(ARGS)

verify: $(DEV) ## check every identity of the theory numerically
	$(ONE_THREAD) $(BIN)/jko verify $(ARGS)

lint: $(DEV) ## check style, format, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

hooks: $(DEV) ## run the checks of `make lint` before every commit
	$(BIN)/pre-commit install

format: $(DEV) ## format the code and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS) ## build the documentation in docs/_build/html and look at it in a browser
	$(ONE_THREAD) MPLBACKEND=Agg $(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	JKO_SITE=docs/_build/html $(BIN)/python -m pytest -q tests/site/test_site.py tests/site/built_site.py
	@echo "Open docs/_build/html/index.html"

bench: $(DEV) ## run every script in benchmarks/ at sizes fit for minutes and write a table
	$(ONE_THREAD) $(BIN)/python -m benchmarks $(ARGS)

package: $(DEV) ## build the wheel and the source archive in dist/ and check them
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/python -m twine check --strict dist/*

clean: ## remove caches and built files, keep the environment
	rm -rf build dist docs/_build docs/auto_examples docs/generated
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find jko tests demos benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean ## clean, and remove the environment too
	rm -rf "$(VENV)" "$(CORE)"

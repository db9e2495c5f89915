# Two commands do everything on a fresh machine with Python 3.11: `make demo` and `make test`.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test check docs reference validation clean

help:
	@echo "make demo        install, then run the demonstration campaign from structures to classifier"
	@echo "make test        install, then lint, types, layers, documentation and all tests"
	@echo "make check       lint, types and layers only"
	@echo "make docs        build the documentation (warnings are errors)"
	@echo "make reference   write the pages of commands and settings (docs/reference)"
	@echo "make validation  compare the engine with the EMsoft reference data and write docs/validation"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "ebsdsg needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); } || \
	  { echo "cannot make a virtual environment: install Debian's python3-venv first"; exit 1; }

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing ebsdsg and what it needs into $(VENV) (a few minutes, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@echo "installing what the tests need into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,dev,docs]"
	@touch $@

demo: $(VENV)/.run
	@$(BIN)/ebsdsg demo

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.test
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

reference: $(VENV)/.run
	$(BIN)/python -m ebsdsg_flows.cli.reference docs/reference

test: check docs
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --max-worker-restart 0 --maxfail 25

validation: $(VENV)/.test
	$(BIN)/python benchmarks/validation.py
	$(BIN)/python benchmarks/structures.py
	$(BIN)/python benchmarks/pattern_validation.py

clean:
	rm -rf $(VENV) docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info

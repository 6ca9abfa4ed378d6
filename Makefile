VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: demo test check bench

demo: $(VENV)/.installed
	$(BIN)/ranoscope demo

test: check
	$(BIN)/pytest

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed
	for benchmark in benchmarks/*.py; do $(BIN)/python $$benchmark; done

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

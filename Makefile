VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# Test files side by side, each on one thread: small tests gain nothing from more. In the order of their names: by size,
# the longest tests, alone in their files, would come last and be waited for.
WORKERS ?= 2

.PHONY: demo test check fuzz bench

demo: $(VENV)/.installed
	$(BIN)/ranoscope demo

test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

# The property tests with examples drawn anew: `make test` always draws the same ones.
fuzz: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/pytest --hypothesis-profile=drawn --numprocesses $(WORKERS) --dist loadfile \
		$$(grep -rl "^from hypothesis" tests --include='test_*.py')

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

# make demo   install and run the built-in example
# make test   install and run the fast tests; make test-slow runs the long ones
# make smoke  a few of them, for another Python: make smoke PYTHON=python3.12 VENV=.venv-3.12
# make benchmarks   measure what the README claims (about half an hour)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test smoke test-slow benchmarks check format clean

demo: $(VENV)/installed
	$(BIN)/widelimit demo -o demo-run

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -q -n 2 --dist worksteal --durations=25

smoke: $(VENV)/installed-dev
	$(BIN)/python -m pytest -q -n 2 tests/command/test_start.py tests/test_docstrings.py tests/command/test_cli.py

test-slow: $(VENV)/installed-dev
	$(BIN)/python -m pytest -q -m slow -s

benchmarks: $(VENV)/installed-dev
	$(BIN)/python benchmarks

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/installed-dev
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

clean:
	rm -rf $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $@

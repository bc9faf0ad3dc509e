# make demo   install and run the built-in example
# make test   install and run the fast tests; make test-slow runs the long ones

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow check format clean

demo: $(VENV)/installed
	$(BIN)/widelimit demo -o demo-run

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -q -n 2 --dist worksteal --durations=10

test-slow: $(VENV)/installed-dev
	$(BIN)/python -m pytest -q -m slow -s

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check src tests
	$(BIN)/ruff check src tests
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/installed-dev
	$(BIN)/ruff format src tests
	$(BIN)/ruff check --fix src tests

clean:
	rm -rf $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $@

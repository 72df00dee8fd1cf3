# Everything needs only Python 3.11, make and git; the rest is installed here.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test properties acceptance check install clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/edgeglass-diag run incident --watch

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: $(STAMP) check
	tests/install_chromium.sh
	$(BIN)/python -m pytest --ignore=tests/acceptance --numprocesses=auto --maxprocesses=4 --dist=loadfile

# The property suite with five times the examples of `make test`.
properties: $(STAMP)
	EDGEGLASS_PROPERTIES=ci $(BIN)/python -m pytest tests/properties

# The incident in full, three seeds: some ten minutes.
acceptance: $(STAMP)
	$(BIN)/python -m pytest tests/acceptance -s

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis

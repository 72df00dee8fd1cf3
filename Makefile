# Everything needs only Python 3.11, make and git; the rest is installed here.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test test-long test-gpu test-large test-package properties fuzz acceptance bench exam docs notebooks site site-view answers check install clean

TORCH := .venv/.installed-torch
ALL_STAMP := .venv/.installed-all
EXAM_STAMP := .venv/.installed-exam
SITE_STAMP := .venv/.installed-site

install: $(STAMP)

$(TORCH): constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "torch==2.13.0"
	touch $(TORCH)

$(STAMP): $(TORCH) pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(STAMP)

# The libraries of the exam's programs, and the trackers of `export`; torch stays as it is.
$(EXAM_STAMP): $(STAMP) tests/sinks/requirements.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,exam]"
	$(BIN)/python -m pip install --quiet --no-deps --requirement tests/sinks/requirements.txt
	touch $(EXAM_STAMP)

# The whole tool, without what its tests need.
$(ALL_STAMP): $(TORCH) pyproject.toml
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all]"
	touch $(ALL_STAMP)

# What builds the documentation as a site.
$(SITE_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,docs]"
	touch $(SITE_STAMP)

demo: $(ALL_STAMP)
	$(BIN)/edgeglass-diag run incident --watch

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: $(STAMP) check
	tests/install_chromium.sh
	$(BIN)/python -m pytest --ignore=tests/acceptance -m "not long" --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

# What trains whole models for minutes, some cases of the exam among it.
test-long: $(STAMP) $(EXAM_STAMP)
	$(BIN)/python -m pytest --ignore=tests/acceptance -m long

# What an accelerator shows, and its tables; on the CPU as far as it can, some ten minutes. GPU="identity waiting" runs these
# parts. A bare machine with torch needs no make: PYTHONPATH=.:models python3 -m tests.gpu
test-gpu: $(STAMP)
	PYTHONPATH=.:models $(BIN)/python -m tests.gpu $(GPU)

# Wheel and sdist, installed by pip into a new environment and used there, without extras and with one after the other.
# Minutes, 3 GB of disk. PACKAGE="--python python3.12 --torch 'torch>=2.6' --extras ''" are its options.
test-package: $(STAMP)
	$(BIN)/python -m tests.package.fresh $(PACKAGE)

# The property suite with five times the examples of `make test`.
properties: $(STAMP)
	EDGEGLASS_PROPERTIES=ci $(BIN)/python -m pytest tests/properties

# 22,000 broken and valid inputs for every reader: some ten minutes. FUZZ="--seed 1 --only log" are its options.
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz $(FUZZ)

# The incident in full, three seeds: some ten minutes.
acceptance: $(STAMP)
	$(BIN)/python -m pytest tests/acceptance -s

# Every fault and healthy variant with three seeds; goes on where it was interrupted.
bench: $(STAMP)
	$(BIN)/edgeglass-diag bench --seeds 3 --out runs/bench

# Programs of others with mistakes of users in them, judged by all rules: under an hour, and minutes the second time.
# EXAM="--part study --only 'simclr:*'" are its options; docs/exam.md explains them.
exam: $(EXAM_STAMP)
	$(BIN)/python -m edgeglass_models.exam $(EXAM)

# docs/rules.md from the rules' own text, docs/signals.md from the registry.
docs: $(STAMP)
	$(BIN)/python -c "from edgeglass_diag.rules.document import rules_document; print(rules_document(), end='')" > docs/rules.md
	$(BIN)/python -m edgeglass_diag.signals.document > docs/signals.md

# The course of examples/ as notebooks, built and run from top to bottom: some minutes. NOTEBOOKS="02 07" runs these.
notebooks: $(STAMP)
	$(BIN)/python examples/notebooks.py runs/notebooks --execute $(NOTEBOOKS)

# The documentation as a site, into site/: warnings are errors, and every link and anchor must lead somewhere.
site: $(SITE_STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	$(BIN)/python docs/site/links.py site

# Serves what was built, at http://127.0.0.1:8060.
site-view: site
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory site 8060

# What the tool answers in docs/howto, written anew: some five minutes.
answers: $(STAMP)
	$(BIN)/python docs/site/answers.py

# The published recipes with a whole ViT-L-14 tower of random weights: minutes, some 7 GiB of memory.
test-large: $(STAMP)
	$(BIN)/python tests/benchmarks/vit_l_14.py

clean:
	rm -rf .venv site .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Shortcuts for people who work on glassnet. Each target sets up what it needs in .venv; `make` alone lists them.
# Without make: `pip install .` and `glassnet train digits` (README.md).

PYTHON ?= python3
BIN := .venv/bin
# Compiled afterwards, on all cores: where PYTHONDONTWRITEBYTECODE is set, as in many containers, Python compiles
# nothing that it imports, and every start takes several times as long.
PIP := $(BIN)/python -m pip install --quiet --no-compile
COMPILE := $(BIN)/python -m compileall -q -j 0

# Tests on two cores; a test's neighbours share fixtures, so each worker begins with a half and then takes from the other.
WORKERS ?= -n 2 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help install demo test quick lint format bench bench-store doctor-bench table docs check-site tour rendered bundle image lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1 /' | awk '{name = $$1; $$1 = ""; printf "  make %-13s%s\n", name, $$0}'

# Two stamps: what needs the NumPy engine alone does not wait for PyTorch and the development tools.
.venv/.runtime: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("glassnet needs Python 3.11 or newer, but $(PYTHON) is " + sys.version.split()[0] + ": name another one, as in make $(MAKECMDGOALS) PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(PIP) --constraint requirements.lock hatchling
	$(PIP) --constraint requirements.lock --no-build-isolation --editable .
	@$(COMPILE) .venv/lib src >/dev/null || true  # some packages carry files for other Pythons
	@touch $@

.venv/.development: .venv/.runtime
	$(PIP) --requirement requirements.lock
	@# Only the tests look at torchvision, and skip what needs it where it cannot be had. Its own requirements would
	@# replace the pinned PyTorch.
	-$(PIP) --no-deps torchvision==0.28.0
	@$(COMPILE) .venv/lib >/dev/null || true
	@touch $@

# The tests do not need Sphinx and JupyterLab, which are a hundred packages.
.venv/.docs: .venv/.development requirements-docs.lock
	$(PIP) --requirement requirements-docs.lock
	@$(COMPILE) .venv/lib >/dev/null || true
	@touch $@

install: .venv/.development  ## make .venv with everything that requirements.lock pins, and glassnet itself, editable

demo: install  ## train on the handwritten digits with both engines and write runs/comparison.html
	$(BIN)/glassnet train digits --engine numpy --run runs/demo-numpy --overwrite
	$(BIN)/glassnet train digits --engine torch --threads 1 --run runs/demo-torch --overwrite
	$(BIN)/glassnet compare runs/demo-numpy runs/demo-torch --output runs/comparison.html

test: install  ## run all tests
	@$(COMPILE) src
	$(BIN)/python -m pytest $(WORKERS)

quick: install  ## run the tests without the slow ones
	$(BIN)/python -m pytest $(WORKERS) -m "not slow"

lint: install  ## style, formatting, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install  ## put the code in the form that lint asks for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

image: demo  ## take the README's image of the report anew (needs Chromium)
	$(BIN)/python docs/images/report.py runs/demo-numpy/report.html

bench: install  ## measure speed and memory beside the saved ratios; fails if one grew by more than a quarter
	@mkdir -p runs
	$(BIN)/glassnet bench --against benchmarks/bench.json --output runs/bench.html --save runs/bench.json

bench-store: install  ## measure on a quiet machine, and save the ratios that `make bench` compares with
	$(BIN)/glassnet bench --save benchmarks/bench.json
	$(BIN)/python benchmarks/convolution_steps.py --write

table: .venv/.runtime  ## repeat the digits table of benchmarks/README.md, ten seeds a row
	$(BIN)/python benchmarks/digits_recipes.py table

doctor-bench: install  ## diagnose 248 healthy and faulty runs, and print the table of benchmarks/doctor.md
	$(BIN)/python benchmarks/doctor_bed.py

docs: build/course .venv/.docs  ## run the course and build the site: build/docs/index.html
	$(BIN)/python -m sphinx -W --keep-going -q -j 2 -b html docs build/docs

check-site: .venv/.docs  ## open every page that `make docs` built in Chromium: contrast, errors, width and height
	GLASSNET_SITE=build/docs $(BIN)/python -m pytest -q tests/test_site.py

build/course: $(wildcard docs/course/*.md) docs/notebooks.py | .venv/.docs
	$(BIN)/python docs/notebooks.py $@
	@touch $@

tour: build/course  ## open the course's notebooks in JupyterLab
	$(BIN)/jupyter lab $<

rendered: docs  ## write the executed course to docs/rendered, for code hosts (needs Chromium)
	$(BIN)/python docs/render.py build/docs

bundle: docs  ## pack the course for a classroom without a network: dist/glassnet-course (TORCH= leaves PyTorch out)
	$(BIN)/python docs/bundle.py dist/glassnet-course $(TORCH)

# The tests compare with this release of PyTorch. It pins its CUDA packages itself where it has any; they are left
# out, as is the build's suffix (+cpu), so that one lock serves every platform.
TORCH := torch==2.13.0

lock:  ## renew requirements.lock and requirements-docs.lock from the ranges in pyproject.toml
	@set -e; fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(PYTHON) -m venv "$$fresh"; \
	"$$fresh/bin/python" -m pip install --quiet --upgrade pip; \
	"$$fresh/bin/python" -m pip install --quiet --group dev $(TORCH) '.[torch,hub,export]'; \
	{ echo '# Written by `make lock` (pip freeze in a new environment): change the ranges in pyproject.toml, not this file.'; \
	  "$$fresh/bin/python" -m pip freeze --exclude glassnet \
	    | sed 's/+.*//' | grep -vE '^(nvidia-|cuda-|triton==)' | LC_ALL=C sort -f; } > requirements.lock.new; \
	mv requirements.lock.new requirements.lock; \
	"$$fresh/bin/python" -m pip install --quiet '.[docs]'; \
	{ echo '# Written by `make lock`: what the extra docs needs besides requirements.lock.'; \
	  "$$fresh/bin/python" -m pip freeze --exclude glassnet \
	    | sed 's/+.*//' | grep -vE '^(nvidia-|cuda-|triton==)' | grep -vxFf requirements.lock | LC_ALL=C sort -f; \
	} > requirements-docs.lock

clean:  ## remove .venv and what the tools leave behind
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

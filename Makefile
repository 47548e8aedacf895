# Each target makes its own environment (.venv) when it is missing or older than pyproject.toml.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Compiled files save time in each of the hundreds of processes that the tests start; some containers switch them off.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test quick check docs bench torture compare compare-quick clean

demo: $(READY)
	$(BIN)/omnidistill demo -o demo-run

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# The tests of single packages, in under two minutes: no command line in processes of its own, browser, Ray or media, and
# no suite over all methods or all baselines.
QUICK := core data models training distillation methods evaluation testing static golden experiments/config
SLOW := core/engines methods/test_methods_contract.py evaluation/baselines/test_baselines.py

quick: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(addprefix tests/,$(QUICK)) $(addprefix --ignore tests/,$(SLOW))

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/static/type_completeness.py

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(READY)
	$(BIN)/python benchmarks/bench.py $(ARGS)

# About 30 minutes: kills, crashes, full disks, little memory, hostile files and fuzzing; see torture/run.py.
torture: $(READY)
	PYTHONPATH=.:tests $(BIN)/python torture/run.py $(ARGS)

compare: $(READY)
	$(BIN)/python benchmarks/compare.py

compare-quick: $(READY)
	$(BIN)/python benchmarks/compare.py --quick

clean:
	rm -rf $(VENV) site demo-run compare-run dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

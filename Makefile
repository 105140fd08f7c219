# Everything happens in .venv; nothing is installed outside of it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo run test fuzz lint format docs soak chaos bench clean

help:
	@echo "make demo    install, fetch the default model, train and ask three sample procedures"
	@echo "make run     open the app"
	@echo "make test    run the tests (ARGS='-k name' to choose)"
	@echo "make fuzz    import 6,000 broken bank files (the tests import 200)"
	@echo "make lint    ruff, mypy, import-linter"
	@echo "make format  let ruff rewrite the code"
	@echo "make docs    write the reference, the manual page and the pictures from the program"
	@echo "make soak    do everything the app offers 20 times in random order, then check what is kept"
	@echo "make chaos   kill it 1,000 times, damage its files, fill its disk, start it in odd places: nothing may be lost"
	@echo "make bench   install what benchmarks need and run benchmarks/speed"
	@echo "make clean   remove .venv and caches (not your profiles)"

demo: $(VENV)/.installed
	$(BIN)/tokmem-desk demo $(ARGS)

run: $(VENV)/.installed
	$(BIN)/tokmem-desk $(ARGS)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n auto $(ARGS)

fuzz: $(VENV)/.installed-test
	TOKMEM_FUZZ_EXAMPLES=6000 $(BIN)/python -m pytest tests/profiles/test_profiles_bank_fuzz.py $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: $(VENV)/.installed-test
	$(BIN)/python -m tests.tui.soak $(ARGS)

chaos: $(VENV)/.installed-test
	$(BIN)/python -m tests.chaos --out benchmarks/results/chaos.json $(ARGS)

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-test
	$(BIN)/python -m docs.generate
	$(BIN)/python -m docs.screenshots

bench: $(VENV)/.installed-bench
	@mkdir -p benchmarks/out
	$(BIN)/python -m benchmarks.speed --out benchmarks/out/speed.json $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "tokmem-desk needs Python 3.11 or newer, and '$(PYTHON)' is not. Name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "This Python cannot make virtual environments. On Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One stamp for each set of packages: pip runs again only when pyproject.toml has changed.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@ $(VENV)/.installed

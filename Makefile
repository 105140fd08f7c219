# Everything happens in .venv; nothing is installed outside of it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
AI_SDK := tests/serve/clients/ai_sdk

.DEFAULT_GOAL := help
.PHONY: help demo run test clients cluster fuzz lint format docs soak chaos bench clean

help:
	@echo "make demo    install, fetch the default model, train and ask three sample procedures"
	@echo "make run     open the app"
	@echo "make test    run the tests (ARGS='-k name' to choose)"
	@echo "make clients install the libraries that others ask models with (500 MB, npm's where there is npm) and try them on serve"
	@echo "make cluster install Ray (240 MB) and train on workers of this computer, some of which are killed"
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

# One thread to a test process: there is a process for each core, and more threads stand in each other's way.
test: $(VENV)/.installed-test
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n auto $(ARGS)

clients: $(VENV)/.installed-clients
	@if command -v npm >/dev/null; then npm install --prefix $(AI_SDK) --no-audit --no-fund --no-package-lock --silent \
		|| echo "npm's libraries could not be installed, so they are not tried."; fi
	$(BIN)/python -m pytest tests/serve/clients tests/serve/test_clients.py tests/cli/test_mcp.py $(ARGS)

cluster: $(VENV)/.installed-cluster
	$(BIN)/python -m pytest tests/engine/cluster tests/cli/test_cluster.py $(ARGS)

fuzz: $(VENV)/.installed-test
	TOKMEM_FUZZ_EXAMPLES=6000 $(BIN)/python -m pytest tests/profiles/store/test_bank_fuzz.py $(ARGS)

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

$(VENV)/.installed-clients: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test,clients,mcp]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

$(VENV)/.installed-cluster: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test,cluster]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

$(VENV)/.installed-bench: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@ $(VENV)/.installed

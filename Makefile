# Needs Python >= 3.11, g++ and make; everything else comes from pip into .venv.

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.setup-done
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then echo $$p; exit; fi; done; echo python3)
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

# Output depends on nothing that the machine has installed.
export AMARANTH_USE_YOSYS := builtin

.PHONY: help setup demo test test-full lint clean

help:
	@echo "make setup      create .venv and install everything Organza needs"
	@echo "make demo       run the shipped example, results in build/demo"
	@echo "make test       run the tests (minutes)"
	@echo "make test-full  run every test, the long ones too"
	@echo "make lint       check style and types"
	@echo "make clean      remove build outputs (not .venv)"

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else \
	"Organza needs Python 3.11 or later, but %s is %d.%d. Run: make setup PYTHON=/path/to/python3.11" \
	% (sys.executable, v[0], v[1]))' \
	|| { command -v $(PYTHON) >/dev/null || echo "Organza needs Python 3.11 or later, and there is no $(PYTHON)."; exit 1; }
	@command -v g++ >/dev/null || { echo "Organza needs g++ to compile RTL simulations, and there is none."; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) \
	|| { echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu install python3-venv."; exit 1; }
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)
	$(BIN)/organza demo --force -o build/demo

test: $(STAMP)
	@$(PYTEST) -m "not full"

test-full: $(STAMP)
	@$(PYTEST)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/pyright

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

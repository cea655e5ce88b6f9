# make run    set up, and open the lab on http://localhost:$(PORT)
# make test   set up, and run every check: style, types, tests; those of the browser and of Slurm where these are present
# make clean  remove the environment

PYTHON ?= python3
PORT ?= 8501
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test check unit browser clean

run: $(VENV)/app.installed
	$(BIN)/pmsi app --port $(PORT)

test: check unit browser

check: $(VENV)/dev.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(VENV)/dev.installed
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not browser and not slurm"

# Where there is no Chromium, or no Slurm, these tests are skipped, and the summary says so.
browser: $(VENV)/dev.installed
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "browser or slurm" -rs tests/browser tests/runs/launchers

$(VENV)/app.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is %s. Try: make PYTHON=python3.12" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -r requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/dev.installed: $(VENV)/app.installed requirements-dev.txt
	$(BIN)/pip install --quiet -r requirements-dev.txt
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

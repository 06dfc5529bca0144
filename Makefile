# make demo    the example's history, phase by phase, on SQLite
# make test    the tests; those that need a server are skipped where there is none
# make docs    the documentation, in docs/_build/html
# make lint    ruff and mypy
# make translations   collects the words of the admin pages, and compiles their catalogues
# make clean   removes what these made
#
# All of them work in a virtual environment of their own, .venv, and need Python 3.11 or newer.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
FLASK := FLASK_APP=example_app $(BIN)/python -m flask
OUT := example_app/out

# The example of the README and of `make demo` is on SQLite, whatever the shell has set.
unexport DATABASE_URL REPORTS_DATABASE_URL FLASK_APP FLASK_DEBUG

.PHONY: help demo test docs lint translations clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

$(BIN)/python:
	@set -e; found=; \
	for name in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
	  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$name; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "This needs Python 3.11 or newer, and there is none: python3 is $$(python3 --version 2>&1 || echo missing)." >&2; \
	  echo "Install one, or name one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$found" --version) ..."; \
	if ! "$$found" -m venv $(VENV); then \
	  rm -rf $(VENV); echo "$$found cannot make virtual environments. On Debian: apt install python3-venv" >&2; exit 1; \
	fi

$(VENV)/installed-%: $(BIN)/python pyproject.toml
	@echo "Installing this package with the extra '$*' ..."
	@$(PIP) --editable '.[$*]'
	@touch $@

demo: $(VENV)/installed-flask-sqlalchemy
	@rm -rf example_app/instance $(OUT) && mkdir -p $(OUT)
	@set -e; run() { echo; echo "\$$ flask db $$*"; $(FLASK) db "$$@"; }; \
	run status; \
	for phase in before-deploy after-deploy final; do run upgrade --phase $$phase; run status; done; \
	run sql --bind default base:head --output $(OUT)/out.sql; \
	run graph --status --bind default --output $(OUT)/graph.svg; \
	run graph --output $(OUT)/graph.dot; \
	run journal --bind default --limit 3
	@echo; echo "The SQL and the graph are in $(OUT). To look at the pages: FLASK_APP=example_app $(BIN)/flask run"

test: $(VENV)/installed-test
	@$(BIN)/python -m pytest $(ARGUMENTS)

docs: $(VENV)/installed-docs
	@$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

lint: $(VENV)/installed-lint
	@$(BIN)/python -m ruff check . && $(BIN)/python -m ruff format --check . && $(BIN)/python -m mypy

PAGES = flask_phased_migrate/admin
CATALOGUES = $(PAGES)/translations
WORDS = --no-default-keywords -k text:1 -k texts:1,2 -k phrase:1 -k phrases:1,2

translations: $(VENV)/installed-test
	@cd $(PAGES) && $(abspath $(BIN))/pybabel -q extract -F $(abspath babel.cfg) $(WORDS) --omit-header --no-location \
	  --sort-output -w 120 -o translations/flask_phased_migrate.pot .
	@$(BIN)/pybabel -q update --ignore-pot-creation-date -w 120 -D flask_phased_migrate -d $(CATALOGUES) \
	  -i $(CATALOGUES)/flask_phased_migrate.pot
	@$(BIN)/pybabel -q compile -D flask_phased_migrate -d $(CATALOGUES)

clean:
	rm -rf $(VENV) build dist docs/_build $(OUT) example_app/instance
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

PYTHON ?= python3
BIN := .venv/bin
# setuptools warns of every editable install, through `--quiet` too.
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check
PORT ?= 3000

.PHONY: serve test check clean

serve: .venv/serving  ## serve the models in models/ on http://127.0.0.1:3000
	$(BIN)/oddglyph serve --port $(PORT)

test: check  ## every check and every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

check: .venv/development
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

clean:
	rm -rf .venv

.venv/serving: pyproject.toml | .venv/bin/python
	$(PIP) --editable .
	touch $@

.venv/development: pyproject.toml | .venv/bin/python
	$(PIP) --editable '.[dev]'
	touch .venv/serving $@

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(PIP) --upgrade 'pip>=25'

# Everything a newcomer or a maintainer does; the environment in .venv is made when it is not there.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install demo test test-slow test-models test-clients perf docs lint format clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/prune-env demo

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow and not perf and not models" -n auto -q

# Proofs that take minutes: hundreds of random networks, kills and resumes, whole trainings.
test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow -n auto -q

# Public models cut and compared, in an environment of their own, which brings the torch that fits their torchvision.
test-models:
	test -x .venv-models/bin/python || $(PYTHON) -m venv .venv-models
	.venv-models/bin/python -m pip install --quiet --disable-pip-version-check -e ".[dev]" -r tests/models/requirements.txt
	.venv-models/bin/python -m pytest -m models -q tests/models

# The libraries that people train agents with, in an environment of their own; `docs/clients.md` has a table of such a run.
test-clients:
	test -x .venv-clients/bin/python || $(PYTHON) -m venv .venv-clients
	.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check -e . -r tests/clients/requirements.txt
	.venv-clients/bin/python tests/clients/run.py

# Speed ratios, measured side by side in one run.
perf: $(STAMP)
	$(BIN)/python -m pytest -m perf -q -s -p no:xdist

# The site, into build/docs; a warning is an error.
docs: $(STAMP)
	$(BIN)/python -m sphinx -b html -W --keep-going docs build/docs

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .benchmarks

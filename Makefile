# One-word tasks; PYTHON may be another interpreter.
PYTHON ?= .venv/bin/python

.PHONY: help fast test slow mutants fuzz lint generate outputs docs bench

help:
	@echo "make fast | test | slow | mutants | fuzz | lint | generate | outputs | docs | bench"

fast:
	$(PYTHON) -m pytest -n 2 -m fast

test:
	$(PYTHON) -m pytest -n 2

slow:
	$(PYTHON) -m pytest -n 2 -m slow

mutants:
	$(PYTHON) -m tests.mutants

fuzz:
	$(PYTHON) -m tests.fuzz

lint:
	$(PYTHON) -m ruff check optimizer tests benchmarks
	$(PYTHON) -m ruff format --check optimizer tests benchmarks
	$(PYTHON) -m pyright --pythonpath $(PYTHON)

generate:
	$(PYTHON) -m optimizer schema --out scenarios/scenario.schema.json
	$(PYTHON) -m benchmarks --table

outputs:
	$(PYTHON) docs/extension/outputs.py

docs: generate
	$(PYTHON) -m sphinx -W docs docs/_build/html

bench:
	$(PYTHON) -m benchmarks

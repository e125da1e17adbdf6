# What CI runs; `make check` before every commit.
.PHONY: check lint types rooms test sweep

check: lint types rooms test

lint:
	ruff check .
	ruff format --check .

types:
	mypy

rooms:
	lint-imports

test:
	pytest -n auto

sweep:
	pytest -n auto -m sweep

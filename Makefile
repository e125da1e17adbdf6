# What CI runs; `make check` before every commit.
.PHONY: check lint types rooms test sweep test-newest constraints

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

# The tests in a fresh environment with today's newest libraries: what constraints.txt holds back.
test-newest:
	environment=$$(mktemp -d) && trap 'rm -rf "$$environment"' EXIT && \
	python3 -m venv "$$environment" && \
	"$$environment/bin/pip" install --quiet '.[test]' && \
	"$$environment/bin/pytest" -n auto

# What a fresh environment holds today, for `pip install -c constraints.txt`.
constraints:
	environment=$$(mktemp -d) && trap 'rm -rf "$$environment"' EXIT && \
	python3 -m venv "$$environment" && \
	"$$environment/bin/pip" install --quiet '.[test]' && \
	{ echo "# Versions that the tests pass with. Made by \`make constraints\`, with" && \
	  echo "# $$("$$environment/bin/python" --version), on $$(date +%Y-%m-%d): all that '.[test]' installs in a fresh environment." && \
	  "$$environment/bin/pip" list --format=freeze --exclude pe-inspect --exclude pip \
	    --exclude setuptools --exclude wheel | sed 's/+.*//'; } > "$$environment/made" && \
	mv "$$environment/made" constraints.txt

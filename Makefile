# What CI runs; `make check` before every commit.
.PHONY: check lint types rooms test wheel sweep nightly fuzz kills test-lowest test-newest audit constraints

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

wheel:
	.ci/try_wheel

sweep:
	pytest -n auto -m sweep

# What takes hours: fuzzers, kills, the lowest and the newest versions, known weaknesses.
nightly: fuzz kills test-lowest test-newest audit

fuzz:
	PE_INSPECT_FUZZ=$${PE_INSPECT_FUZZ:-100000} pytest -n auto tests/hostile/test_fuzz.py tests/loading/test_damaged_formats.py

kills:
	PE_INSPECT_KILLS=$${PE_INSPECT_KILLS:-200} pytest -n auto -m sweep tests/hostile/test_interrupted.py

# The tests in a fresh environment with the lowest versions that pyproject.toml allows, on Python 3.11.
test-lowest:
	environment=$$(mktemp -d) && trap 'rm -rf "$$environment"' EXIT && \
	python3.11 -m venv "$$environment" && \
	"$$environment/bin/pip" install --quiet '.[test]' 'torch==2.6.*' 'torchvision==0.21.*' \
	  'timm==1.0.31' 'numpy==1.26.*' && \
	"$$environment/bin/pytest" -n auto

# Whether the versions of constraints.txt have known weaknesses, where the service can be reached.
audit:
	environment=$$(mktemp -d) && trap 'rm -rf "$$environment"' EXIT && \
	python3 -m venv "$$environment" && "$$environment/bin/pip" install --quiet pip-audit && \
	{ "$$environment/bin/pip-audit" --no-deps --disable-pip -r constraints.txt > "$$environment/said" 2>&1 || \
	  { grep -qE 'ConnectionError|ServiceError|ConnectTimeout|Max retries' "$$environment/said" && \
	    echo "The service of known weaknesses cannot be reached: nothing was audited."; } || \
	  { cat "$$environment/said"; exit 1; }; }

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

# The one task runner. Every target sets up what it needs; the second time that is a matter of seconds.
# Paths are relative on purpose: the checkout may lie in a directory with spaces.

SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
# The first interpreter that is new enough.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$p && break; done)
PROJECTS := $(wildcard pyproject.toml */pyproject.toml taps/*/pyproject.toml)
INSTALLED := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | awk -F'|' '{printf "%-24s %s\n", $$1, $$2}'

.PHONY: install
install: $(INSTALLED) ## make .venv with everything in it
$(INSTALLED): requirements.txt constraints.txt $(PROJECTS)
	@test -n "$(PYTHON)" || { echo "Python 3.10 or newer is needed; install it, or run: make PYTHON=/path/to/python3"; exit 1; }
	@echo "== installing Dativo and its tools into $(VENV) (once; about a minute)"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV) || \
		{ echo "cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -e '.[dev]' -c constraints.txt
	@touch $(INSTALLED)

.PHONY: demo
demo: $(INSTALLED) ## load the example data into an Iceberg table and show it
	@$(BIN)/python -m dativo.demo

.PHONY: test
test: $(INSTALLED) schema-validate ## all tests
	@echo "== all tests"
	@$(PYTEST) -n 2 --dist worksteal -q

.PHONY: test-unit
test-unit: $(INSTALLED) ## tests that start no job
	@echo "== tests without Meltano runs"
	@$(PYTEST) -n 2 --dist worksteal -q -m "not smoke"

.PHONY: test-smoke
test-smoke: $(INSTALLED) ## run the jobs of tests/fixtures through Meltano into a lake of their own
	@echo "== smoke test: dativo_ingest run --job-dir tests/fixtures/jobs --secrets-dir tests/fixtures/secrets"
	@$(BIN)/dativo_ingest run --job-dir tests/fixtures/jobs --secrets-dir tests/fixtures/secrets

.PHONY: lint
lint: $(INSTALLED) ## style, types, stale generated files
	@echo "== ruff"; $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "== mypy"; $(BIN)/mypy
	@echo "== compiled meltano.yml"; $(BIN)/dativo compile jobs/ --check
	@echo "== generated parts of docs/"; $(BIN)/python docs/generate.py --check

.PHONY: docs
docs: $(INSTALLED) ## write the generated parts of docs/ anew
	@$(BIN)/python docs/generate.py

.PHONY: format
format: $(INSTALLED) ## let ruff mend what it can
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

.PHONY: schema-validate
schema-validate: $(INSTALLED) ## check registry, recipes, contracts and generated schemas
	@echo "== schemas"; $(BIN)/python -m dativo.config.schemas --check

.PHONY: services
services: ## start Nessie, an S3 server, PostgreSQL and MariaDB, fetched by Maven; prints how to reach them
	@"$(PYTHON)" tests/services/servers.py start

.PHONY: services-stop
services-stop: ## stop them
	@"$(PYTHON)" tests/services/servers.py stop

.PHONY: bench
bench: $(INSTALLED) ## benchmarks; prints ratios within one run
	@$(BIN)/python benchmarks/run.py $(if $(ONLY),--only $(ONLY)) $(if $(ROWS),--rows $(ROWS))

.PHONY: crash
crash: $(INSTALLED) ## kill runs at POINTS points (200) and compare the tables with the truth
	@POINTS=$(or $(POINTS),200) SEED=$(SEED) $(PYTEST) tests/crash -n 2 --dist load -q
	@TURNS=25 $(PYTEST) target-iceberg/tests/nessie -k race -q

.PHONY: soak
soak: $(INSTALLED) ## load a database that is written to for MINUTES (20), kill runs at random, and compare in the end
	@SECONDS_OF_SOAK=$$(( $(or $(MINUTES),20) * 60 )) SEED=$(SEED) $(PYTEST) tests/soak -q -s

.PHONY: fuzz
fuzz: $(INSTALLED) ## feed framing and decoding any bytes for SECONDS (600), half by coverage, half by hypothesis
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]' -c constraints.txt
	@$(BIN)/python tests/fuzz/fuzz_records.py .fuzz $$(( $(or $(SECONDS),600) / 2 ))
	@EXAMPLES=$$(( $(or $(SECONDS),600) * 30 )) $(PYTEST) tests/fuzz -q -n 2 --timeout 3600

.PHONY: faults
faults: $(INSTALLED) ## break the way to the servers in every way, and write what happened into docs/explanation/reliability.md
	@mkdir -p .services && rm -f .services/faults.jsonl
	@CI=true DATIVO_FAULTS_REPORT="$(CURDIR)/.services/faults.jsonl" $(PYTEST) target-iceberg/tests/nessie -m fault -n 2 -q
	@$(BIN)/python docs/observed_faults.py .services/faults.jsonl

.PHONY: test-spark
test-spark: $(INSTALLED) ## compare what Spark reads with what PyIceberg reads; needs Java 17 and fetches Spark once
	@command -v java >/dev/null || { echo "Spark needs Java 17 or newer"; exit 1; }
	@test -x .services/spark/bin/python || "$(PYTHON)" -m venv .services/spark
	@.services/spark/bin/python -m pip install --quiet --disable-pip-version-check 'pyspark>=4.0,<4.1'
	@$(BIN)/python tests/spark/tables.py .services/spark-lake
	@.services/spark/bin/python tests/spark/read.py .services/spark-lake; code=$$?; \
		$(BIN)/python tests/services/servers.py stop spark >/dev/null; exit $$code

.PHONY: wheels
wheels: $(INSTALLED) ## build all distributions into dist/
	@for d in singer-arrow target-iceberg taps/tap-kit taps/tap-csv taps/tap-postgres taps/tap-mysql .; do $(BIN)/python -m build --wheel --no-isolation --outdir dist "$$d" >/dev/null || exit 1; done
	@ls dist

.PHONY: clean
clean: ## remove disposable files; never the lake, the state or secrets
	rm -rf .dativo .meltano .mypy_cache .ruff_cache .pytest_cache dist build

# What a developer runs. Every target but help and requirements sets up .venv first, and only when that is out of date.

.DEFAULT_GOAL := help
.PHONY: help install demo test serve check bench client requirements

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
STAMP := .venv/.installed

# The interpreter that .venv is made with, the first that runs and is new enough: `make install PYTHON=…` names another.
CANDIDATES := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))

help: ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

install: $(STAMP) ## make .venv with everything pinned in requirements.txt
	@:

demo: $(STAMP) ## watch it learn and plan
	@$(BIN)/somabrain demo

test: $(STAMP) ## run the tests; ARGS="tests/unit -k policy" runs some
	@$(BIN)/python -m pytest $(ARGS)

serve: $(STAMP) ## start the server with the settings of the environment
	@$(BIN)/somabrain serve

check: $(STAMP) ## lint, format, types, imports, stubs, openapi.yaml
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --quiet --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	scripts/ci/forbid_stubs.sh
	$(BIN)/somabrain openapi --check
	$(BIN)/somabrain reference --check

bench: $(STAMP) ## run the benchmarks; ARGS are theirs
	@$(BIN)/python -m benchmarks $(ARGS)

client: $(STAMP) ## build the wheel of somabrain-client into dist/
	@cd distributions/client && "$(abspath $(BIN))/python" -m hatchling build -t wheel -d "$(CURDIR)/dist"

requirements: ## pin the dependencies of pyproject.toml anew, with hashes
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --all-extras --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml -o requirements.txt

$(STAMP): requirements.txt pyproject.toml
	@echo "Setting up .venv …"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  for python in $(CANDIDATES); do \
	    if "$$python" -c '$(NEW_ENOUGH)' 2>/dev/null; then exec "$$python" -m venv --clear .venv; fi; \
	  done; \
	  echo "Somabrain needs Python 3.11 or newer, and none of these is: $(CANDIDATES). Name one: make install PYTHON=/path/to/python3" >&2; \
	  exit 1; \
	}
	@$(PIP) install --require-hashes -r requirements.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# Two commands matter: `make run` and `make test`. Both set everything up first; a second time that costs nothing.
# Only Python 3.11+ and make are needed. Package indexes come from your own pip or uv settings, never from here.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLIENTS := .clients
BENCH := .bench

.PHONY: setup run test test-long check fix docs bench lock clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make run        start the server with an embedded model; prints a curl line that works (ARGS=\"--port 9000\")"
	@echo "make test       the default test suite"
	@echo "make test-long  soak, chaos and fuzz tests"
	@echo "make check      format, lint, types, import layers, lock files"
	@echo "make bench      the gateway against nginx and Envoy in one run (LITELLM=1 adds LiteLLM)"

# The stamp is named after the locks' content, so nothing is done while they stay the same.
RUN_STAMP := $(VENV)/.run-$(shell cat requirements.lock pyproject.toml 2>/dev/null | cksum | cut -d' ' -f1)
DEV_STAMP := $(VENV)/.dev-$(shell cat requirements-dev.lock pyproject.toml 2>/dev/null | cksum | cut -d' ' -f1)
CLIENTS_STAMP := $(CLIENTS)/.done-$(shell cat tests/clients/requirements.lock tests/clients/requirements-llamaindex.lock tests/clients/node/package-lock.json 2>/dev/null | cksum | cut -d' ' -f1)

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "steelyard needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=/path/to/python3.11.")'
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.13,<0.14"

define install
	+@test -x $(BIN)/uv || $(MAKE) --no-print-directory $(BIN)/uv
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r $(1) \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
endef

$(RUN_STAMP):
	$(call install,requirements.lock)
	@rm -f $(VENV)/.run-*; touch $@

$(DEV_STAMP): $(RUN_STAMP)
	$(call install,requirements-dev.lock)
	@rm -f $(VENV)/.dev-*; touch $@

# The vendors' own SDKs, in a venv and a node_modules of their own: they judge the wire and never mix with the product.
$(CLIENTS_STAMP): $(RUN_STAMP)
	@$(PYTHON) -m venv $(CLIENTS)
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(CLIENTS)/bin/python --require-hashes -r tests/clients/requirements.lock
	@$(PYTHON) -m venv $(CLIENTS)-llamaindex
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(CLIENTS)-llamaindex/bin/python --require-hashes -r tests/clients/requirements-llamaindex.lock
	@command -v npm >/dev/null || $(BIN)/uv pip install --quiet --compile-bytecode --python $(CLIENTS)/bin/python --require-hashes -r tests/clients/node/requirements.lock
	@cd tests/clients/node && PATH="$$PATH:$(abspath $(CLIENTS))/bin" npm ci --silent --no-audit --no-fund
	@rm -f $(CLIENTS)/.done-*; touch $@

# Our own code too, wherever the environment keeps Python from doing so by itself: it makes the start three times as quick.
.PHONY: bytecode
bytecode: $(RUN_STAMP)
	@$(BIN)/python -m compileall -q src

setup: $(RUN_STAMP) bytecode
	@$(BIN)/steelyard models pull > /dev/null

run: $(RUN_STAMP) bytecode
	@exec $(BIN)/steelyard quickstart $(ARGS)

# What the tests are run with; `--jobs 2` fetches the product's side and the clients' at once.
.PHONY: prepare
prepare: $(DEV_STAMP) $(CLIENTS_STAMP)

test: prepare bytecode
	@$(BIN)/python tests/lanes.py

test-long: prepare bytecode
	@$(BIN)/python -m pytest -m long -s -o faulthandler_timeout=7200

check: $(DEV_STAMP)
	@$(BIN)/ruff format --check src tests bench examples
	@$(BIN)/ruff check src tests bench examples
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@! grep -nE 'https?://|--index-url|--find-links|"resolved"' *.lock tests/clients/*.lock tests/clients/node/*.lock tests/clients/node/package-lock.json bench/*.lock \
	  || { echo "a lock file names an address"; exit 1; }

docs: $(DEV_STAMP)
	@$(BIN)/python docs/generate.py

fix: $(DEV_STAMP)
	@$(BIN)/ruff check --fix src tests bench examples
	@$(BIN)/ruff format src tests bench examples

bench: $(DEV_STAMP) bytecode
	@$(BIN)/python -m bench --million --features --crossings --engine --queue --monitoring --knowledge --console $(if $(LITELLM),--litellm)

LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate
lock: $(RUN_STAMP)
	@$(LOCK) --extra video pyproject.toml -o requirements.lock
	@$(LOCK) --extra video --extra speech --extra voice pyproject.toml --group dev -o requirements-dev.lock
	@$(LOCK) tests/clients/requirements.in -o tests/clients/requirements.lock
	@$(LOCK) --python-version 3.11 tests/clients/requirements-llamaindex.in -o tests/clients/requirements-llamaindex.lock
	@$(LOCK) tests/clients/node/requirements.in -o tests/clients/node/requirements.lock
	@$(LOCK) bench/requirements.in -o bench/requirements.lock
	@$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 \
	  --override bench/overrides-litellm.txt bench/requirements-litellm.in -o bench/requirements-litellm.lock

clean:
	@rm -rf $(VENV) $(CLIENTS) $(CLIENTS)-llamaindex $(BENCH) .mypy_cache .ruff_cache .pytest_cache

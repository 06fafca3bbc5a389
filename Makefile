# One venv from pinned, hashed requirements serves every target.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
INFRA  := PATH="$(CURDIR)/$(BIN):$$PATH" CDK_DISABLE_CLI_TELEMETRY=true
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: assets synth deploy deploy-test demo run bench vitals test lint types imports unit clean lock help

help:            ## what there is to run
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: $$($(PYTHON) --version) found. Try: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "The venv module is missing. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Installing the pinned packages into $(VENV) ..."
	@$(PIP) --require-hashes -r requirements.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): $(STAMP) requirements-dev.txt
	@echo "Installing the pinned development packages into $(VENV) ..."
	@$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@

demo: $(STAMP)   ## one alert, one whole trade, on a simulated exchange (DEMO="--klines DIR")
	@$(BIN)/quantcloud demo $(DEMO)

run: $(STAMP)    ## the same system, staying up for alerts on http://127.0.0.1:8000
	@$(BIN)/quantcloud run $(RUN)

deploy-test: $(DEV)  ## the pair of nodes booted for real on this machine and hurt in every way (needs root; Debian)
	@[ "$$(id -u)" = 0 ] || { echo "make deploy-test boots two machines in containers and needs root: sudo make deploy-test"; exit 1; }
	@command -v debootstrap systemd-nspawn >/dev/null || apt-get install -q -y --no-install-recommends debootstrap systemd-container
	QC_TEST_NODES=1 $(BIN)/pytest tests/deployment -x -v $(PYTEST)

test: lint types imports unit  ## everything CI checks

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV)
	$(BIN)/mypy

imports: $(DEV)
	$(BIN)/lint-imports

unit: $(DEV)
	$(BIN)/pytest -n auto --dist loadfile $(PYTEST)

bench: $(DEV)  ## the order path beside its peers in ../shared/bench (BENCH="--alerts 100 --runs 1")
	$(BIN)/python tests/benchmarks/order_path.py $(BENCH)

vitals: $(DEV)   ## the stream node's pace, the trader's memory, start to ready, kill to protected
	PYTHONPATH=tests $(BIN)/python tests/benchmarks/vitals.py

assets: $(DEV)   ## the release and the Lambdas with their wheels, into build/ (ASSETS="--host": wheels for this machine)
	@$(INFRA) python -m cdk.make_assets $(ASSETS)

synth: $(DEV)    ## the templates, checked, into cdk.out (after make assets; needs neither AWS nor network)
	@$(INFRA) cdk synth --quiet $(if $(ACCOUNT),-c account=$(ACCOUNT)) $(SYNTH)

deploy: assets   ## every site on AWS: docs/deploy.md first (DEPLOY="--require-approval never")
	@$(INFRA) cdk deploy --all $(DEPLOY)

lock:            ## refresh the hashed requirement files (needs uv)
	uv pip compile pyproject.toml --extra install --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -q -o requirements.txt
	uv pip compile pyproject.toml --extra cloud --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.12 -q -o requirements-cloud.txt
	uv pip compile pyproject.toml --extra install --extra dev --extra cloud --extra infra --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 -q -o requirements-dev.txt
	for f in lambdas/*/requirements.in; do uv pip compile $$f -c requirements-dev.txt --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.13 -q -o $${f%.in}.txt; done

clean:
	rm -rf $(VENV) *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

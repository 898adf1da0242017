# Everything runs in .venv, which every target sets up when the lock has changed. See README.md.
GRID ?= grids/demo.yaml
OPTIONS ?=
TRACKING ?= results/mlflow.db
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup sweep submit preflight prefetch rehearse plan aggregate calibrate mlflow test chaos bench check lock schema help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## .venv with everything that requirements.lock pins

$(STAMP): requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode --python $(BIN)/python requirements.lock
	touch $@

sweep: $(STAMP) ## run what is to do of GRID, then build its tables (OPTIONS="-o seeds=[0]": other settings)
	@$(BIN)/python -m orchestrator sweep $(GRID) $(OPTIONS)

CLUSTER ?= http://127.0.0.1:8265
FOLDER ?= $(CURDIR)
submit: export COMMAND = cd "$(FOLDER)" && exec $(BIN)/python -m orchestrator sweep $(GRID) $(OPTIONS)
submit: $(STAMP) ## sweep GRID as a job on the Ray at CLUSTER, whose nodes have this repository at FOLDER
	@$(BIN)/ray job submit --address $(CLUSTER) --no-wait -- sh -c "$$COMMAND"

preflight: $(STAMP) ## check data sets, weights, judges and storage of GRID
	@$(BIN)/python -m orchestrator preflight $(GRID)

prefetch: $(STAMP) ## fetch every weights file that GRID names, once
	@$(BIN)/python -m orchestrator prefetch $(GRID)

rehearse: $(STAMP) ## run each shape of trial of GRID for a few steps on stand-ins, measure what it costs
	@$(BIN)/python -m orchestrator rehearse $(GRID) $(OPTIONS)

plan: $(STAMP) ## what a sweep of GRID would run, and why
	@$(BIN)/python -m orchestrator plan $(GRID) $(OPTIONS)

aggregate: $(STAMP) ## rebuild results/<grid>/ of GRID from the store
	@$(BIN)/python -m orchestrator.aggregate --grid $(GRID)

calibrate: $(STAMP) ## simulate thousands of studies: do the verdicts keep their promises? into docs/statistics.md
	@$(BIN)/python -m orchestrator.aggregate.calibrate

mlflow: $(STAMP) ## MLflow's pages on http://127.0.0.1:5000
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server --host 127.0.0.1 --port 5000 --workers 1 --backend-store-uri sqlite:///$(TRACKING)

BENCH ?=
DEVICE ?= cpu
bench: $(STAMP) ## measure speed, side by side, into docs/performance.md (BENCH=swinir: one of them; DEVICE=cuda)
	$(BIN)/python -m tests.bench $(BENCH) --device $(DEVICE)

ROUNDS ?= 20
KINDS ?=
chaos: $(STAMP) ## disturb sweeps at seeded moments, ROUNDS of each kind, into docs/reliability.md (KINDS="nodes ...")
	$(BIN)/python -m tests.chaos $(KINDS) --rounds $(ROUNDS)

test: $(STAMP) ## all tests
	$(BIN)/python -m pytest -q

check: $(STAMP) ## lint, format, types, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q

schema: $(STAMP) ## grids/schema.json, by which editors complete and check grids
	@$(BIN)/python -m orchestrator schema > grids/.schema.json && mv grids/.schema.json grids/schema.json

lock: ## pin the newest versions that pyproject.toml allows, with hashes and without index addresses
	$(BIN)/uv pip compile --quiet --upgrade pyproject.toml --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url --output-file requirements.lock

# make demo   a damage map from nothing: set-up, a simulated event, 40 labels, training, export, evaluation
# make docs   the documentation as a site, in ./site
# make road  what every stage from imagery to map takes, beside the notebook that one would write instead
# make app    the map viewer in the browser, on ./workspace
# make bundle an offline bundle in dist/bundle: all wheels, the weights, and a script for each system
# make lock   requirements.lock and requirements-dev.lock anew: every package with version and hashes
# make test   lint, types, layers and tests; `test-all` has the long ones too, `test-nightly` the campaigns only
PYTHON ?= python3
VENV ?= .venv
WORKSPACE ?= workspace
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup bundle demo app test test-all test-nightly check bench road docs lock clean

setup: $(READY)

# The stamp is written only after a complete installation, so an interrupted one is done again.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'lightly>=1.6'
	touch $@

demo: setup
	$(BIN)/python -m benchmarks.demo --directory demo

app: setup
	DAMAGE_SSL_WORKSPACE=$(WORKSPACE) $(BIN)/damage-ssl app --workspace $(WORKSPACE)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not long and not nightly"

# Everything but the campaigns: what `make test` runs, then the long ones.
test-all: test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "long and not nightly"

test-nightly: check
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest -m nightly

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Python 3.11 on x86_64 Linux, torch's CPU build. Where that lies in a folder: make lock TORCH='--find-links FOLDER'
TORCH ?= --index https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match
LOCK = UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 \
	--python-platform x86_64-manylinux_2_28 --constraints constraints.txt $(TORCH) pyproject.toml

lock: setup
	$(LOCK) --extra app --extra dask --extra fetch --extra postgres --extra signin --output-file requirements.lock
	$(LOCK) --extra dev --constraints requirements.lock --output-file requirements-dev.lock

road: setup
	$(BIN)/python -m benchmarks.road --buildings 600 --out benchmarks/scratch/road.jsonl

bundle: setup
	$(BIN)/python -m deploy.bundle --out dist/bundle

bench: setup
	$(BIN)/python -m benchmarks.accuracy

clean:
	rm -rf demo benchmarks/scratch .pytest_cache .mypy_cache .ruff_cache

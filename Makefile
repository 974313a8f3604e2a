# Two commands matter: `make run` and `make test`. Each sets up what it needs in .venv.
#
#   make run                              draws a small dataset, trains, gates, pushes
#   make run DATA=<folder>                the same on images/ and annotations/ (the Oxford-IIIT Pets layout)
#   make run WORKSPACE=<folder>           keeps it apart (default: workspace)
#   make test                             lint, unit tests, one end-to-end test per promise
#   make test-all                         all that, and what takes longer
#   make test-next                        make test on TFX 1.21 in a Debian 13 root, as root
#   make bench [DATA=<folder>] [LARGE=1]  speed and memory, one table, each row beside its comparison; after make run
#   make bench-quality DATA=<folder>      trains the classic U-Net and the default model, MINUTES=15 each

WORKSPACE ?= workspace
DATA ?=
MINUTES ?= 15
# Test files at once; each wants a core and 3 GB.
JOBS ?= 2
# One for each TFX; tools/find_python.sh says which of them this machine runs.
LOCKS := requirements/tfx-1.16.txt requirements/tfx-1.21.txt
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run test test-all test-next compile lint audit chromium mariadb bench bench-quality lock clean

ifeq ($(DATA),)
run: $(READY)
	$(BIN)/segpipe draw --output $(WORKSPACE)/drawn
	$(BIN)/segpipe ingest --workspace $(WORKSPACE) --config configs/drawn.yaml --images $(WORKSPACE)/drawn/images \
	  --masks $(WORKSPACE)/drawn/annotations/trimaps --split-lists $(WORKSPACE)/drawn/annotations
	$(BIN)/segpipe run --workspace $(WORKSPACE) --config configs/drawn.yaml
else
run: $(READY)
	$(BIN)/segpipe ingest --workspace $(WORKSPACE) --images $(DATA)/images --masks $(DATA)/annotations/trimaps \
	  --split-lists $(DATA)/annotations
	$(BIN)/segpipe run --workspace $(WORKSPACE)
endif

test: lint chromium mariadb
	@$(MAKE) --no-print-directory audit
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not slow"

test-all: lint chromium mariadb
	@$(MAKE) --no-print-directory audit
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

# In a Debian 13 root of its own, which it makes; root alone may.
test-next: $(READY)
	$(BIN)/python tools/suite_in_debian.py $(JOBS)

# Without a browser its tests are skipped and say so.
chromium:
	@sh tools/find_chromium.sh >/dev/null || true

# Without a server its tests are skipped and say so.
mariadb:
	@sh tools/find_mariadb.sh >/dev/null || true

bench: $(READY)
	$(BIN)/python benchmarks/bench.py --workspace $(WORKSPACE) $(if $(DATA),--data $(DATA)) $(if $(LARGE),--large)

bench-quality: $(READY)
	$(BIN)/python benchmarks/quality.py --data $(or $(DATA),$(error name the photos: make bench-quality DATA=<folder>)) \
	  --minutes $(MINUTES)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

# Known weaknesses of the locked packages, and withdrawn releases; what PyPI or the given OSV_URL does not tell, it counts.
audit: $(READY)
	$(BIN)/python tools/audit.py $(LOCKS) requirements/advisories.yaml $(if $(OSV_URL),--osv-url $(OSV_URL))

# What every engine is handed, with placeholders for what is not one's own yet.
compile: $(READY)
	@mkdir -p dist
	$(BIN)/segpipe compile --engine vertex --output dist/vertex_job.json
	$(BIN)/segpipe compile --engine kubeflow --output dist/kubeflow.yaml

$(READY): $(LOCKS) requirements/bootstrap.txt setup.py pyproject.toml tools/find_python.sh
	@found=$$(sh tools/find_python.sh) && "$${found#* }" -m venv --clear $(VENV) && \
	  echo "TFX $${found%% *} on $${found#* }" && cp requirements/tfx-$${found%% *}.txt $(VENV)/lock.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r $(VENV)/lock.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

PINNED := --quiet --generate-hashes
ON_IMAGE := --extra s3 --python-version 3.13 --python-platform x86_64-manylinux_2_39 --constraints requirements/tfx-1.21.txt
# Resolves the pins again, and what of them the image needs; run it by hand and commit the result.
lock: $(READY)
	$(BIN)/uv pip compile $(PINNED) --python-version 3.10 --output-file requirements/tfx-1.16.txt requirements/tfx-1.16.in
	$(BIN)/uv pip compile $(PINNED) --python-version 3.11 --universal --output-file requirements/tfx-1.21.txt \
	  requirements/tfx-1.21.in
	$(BIN)/uv pip compile $(PINNED) $(ON_IMAGE) \
	  --output-file requirements/image-1.21.txt setup.py
	$(BIN)/uv pip compile $(PINNED) $(ON_IMAGE) --extra gpu \
	  --output-file requirements/image-gpu-1.21.txt setup.py
	$(BIN)/uv pip compile $(PINNED) --python-version 3.10 --output-file requirements/bootstrap.txt requirements/bootstrap.in

clean:
	rm -rf $(VENV) build dist *.egg-info

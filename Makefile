# Graft's commands. Each sets up what it needs on a machine with Python >= 3.11, make and git.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PARALLEL = -n $(WORKERS) --no-loadscope-reorder
CORES ?= all
PYTHON ?= python3
WORKERS ?= 2
PORT ?= 5000
SERVED ?= $(CURDIR)/tracking
BACKEND ?= sqlite:///$(SERVED)/mlflow.db

# With a NAME, results are in runs/NAME, and the store and downloads those of this folder.
IN = $(if $(NAME),mkdir -p runs/$(NAME) && ln -sfn ../../downloads runs/$(NAME)/downloads && \
  cd runs/$(NAME) && SNAKEMAKE_OUTPUT_CACHE="$${SNAKEMAKE_OUTPUT_CACHE:-$(CURDIR)/.store}" $(CURDIR)/)
SCRIPTS = $(if $(NAME),$(CURDIR)/)workflow/scripts
OPTIONS = $(if $(NAME),--snakefile $(CURDIR)/Snakefile) \
  $(if $(CONFIG),--configfile $(if $(NAME),$(abspath $(CONFIG)),$(CONFIG)))

ifneq ($(words $(CURDIR)),1)
$(error $(CURDIR): the path has a space, and programs in $(VENV) cannot be run from there. \
  Move this folder to a path without one)
endif

.PHONY: certify cuts reproduce mlflow-server photos run report setup test test-fast test-real lint types format bench bench-faces reference lock verify repair prune clean distclean bench-features bench-train bench-end-to-end bench-planning bench-scale
.DELETE_ON_ERROR:

## reproduce: the whole workflow on the embedded default, its report and Snakemake's
reproduce: $(READY)
	$(BIN)/snakemake --cores $(CORES)
	@$(MAKE) --no-print-directory report
	@$(BIN)/python workflow/scripts/golden.py || true

## report: results/workflow_report.html, Snakemake's own: how every result was made, with run times;
##   of what is up to date, and it lists what is not (results/report.html is part of each run)
report: $(READY)
	$(IN)$(BIN)/snakemake --report results/workflow_report.html $(OPTIONS)

## photos: config/my_photos.yaml for the photographs in FOLDER, which has a folder for each class;
##         WEIGHTS=file ARCHITECTURE=name for weights of your own, FORCE=1 to replace the file
photos: $(READY)
	@$(BIN)/python workflow/scripts/photos.py "$(FOLDER)" $(if $(FORCE),--force) \
	  $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(if $(ARCHITECTURE),--architecture $(ARCHITECTURE))

## run: the workflow with an overlay, CONFIG=config/my_photos.yaml; NAME=quick keeps its results
##      apart, in runs/quick (so do report, verify, repair and prune)
run: $(READY)
	$(IN)$(BIN)/snakemake --cores $(CORES) $(OPTIONS)

## mlflow-server: a tracking server at 127.0.0.1:5000, or PORT, with its files in tracking/, or SERVED;
##                BACKEND=postgresql://user@host/database instead of sqlite (docs/how-to/shared-tracking.md)
mlflow-server: export MLFLOW_BACKEND_STORE_URI = $(BACKEND)
mlflow-server: export MLFLOW_DISABLE_TELEMETRY = true
mlflow-server: export MLFLOW_SERVER_ENABLE_JOB_EXECUTION = false
mlflow-server: $(READY)
	@mkdir -p "$(SERVED)"
	@exec $(BIN)/mlflow server --host 127.0.0.1 --port $(PORT) --serve-artifacts \
	  --artifacts-destination "$(SERVED)/artifacts"

## setup: the virtual environment, exactly as locked
setup: $(READY)

$(READY): envs/graft.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade uv
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python envs/graft.lock
	@touch $@

## test: every test (those on real data skip where ../shared is absent)
test: $(READY)
	$(BIN)/python -m pytest $(PARALLEL)

## test-fast: the tests that neither run the workflow nor need real data, in under three minutes
test-fast: $(READY)
	$(BIN)/python -m pytest $(PARALLEL) -m "not workflow and not real"

## test-real: only the tests on real data
test-real: $(READY)
	$(BIN)/python -m pytest $(PARALLEL) tests/real

## lint: style and Snakemake's own advice
lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

## types: the type checker over the library
types: $(READY)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

## bench: the measurements in benchmarks/
bench: $(READY)
	@$(BIN)/python benchmarks/stages.py

## bench-features: the feature pass against plain loops and the bf16 matrix product (docs/performance.md)
bench-features: $(READY)
	@$(BIN)/python benchmarks/features.py $(ARGS)

## bench-train: updates of whole networks against plain torch (docs/performance.md)
bench-train: $(READY)
	@$(BIN)/python benchmarks/training.py $(ARGS)

## bench-end-to-end: a linear probe of LFW, disk to disk, against torchvision's tutorial
bench-end-to-end: $(READY)
	@$(BIN)/python benchmarks/end_to_end.py $(ARGS)

## bench-planning: how long a dry run takes, by the numbers of parts and experiments (docs/scale.md)
bench-planning: $(READY)
	@$(BIN)/python benchmarks/planning.py $(ARGS)

## bench-scale: time and memory of every stage by the number of samples (docs/scale.md)
bench-scale: $(READY)
	@$(BIN)/python benchmarks/scale.py $(ARGS)

## bench-faces: face detectors on FDDB and LFW, from the kit in ../shared (docs/faces.md)
bench-faces: $(READY)
	@$(BIN)/python benchmarks/faces.py

## cuts: where a network can be cut, ARCHITECTURE=timm/convnext_tiny.fb_in1k, perhaps SIZE=224
cuts: $(READY)
	@$(BIN)/python workflow/scripts/cuts.py $(ARCHITECTURE) $(if $(SIZE),--size $(SIZE))

## certify: that every classifier of torchvision and timm equals its two halves; hours.
##          MODELS="resnet18 timm/vit_tiny_patch16_224" for some
certify: $(READY)
	@$(BIN)/python benchmarks/certify.py $(MODELS)

## verify: every artefact against its seal, every figure against predictions.csv; CONFIG=overlay
verify: $(READY)
	@$(IN)$(BIN)/python $(SCRIPTS)/verify.py results $(ARGS) $(OPTIONS)

## repair: remove what verify finds damaged, here and in the store, so that it is made again
repair: $(READY)
	@$(IN)$(BIN)/python $(SCRIPTS)/verify.py results --repair

## reference: the config's JSON schema and the tables of config/README.md, from the settings' classes
reference: $(READY)
	@$(BIN)/python workflow/scripts/reference.py

## lock: envs/graft.lock and the conda environment, from pyproject.toml
lock: $(READY)
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --generate-hashes \
	  --no-emit-index-url --upgrade --quiet --output-file envs/graft.lock
	$(BIN)/python envs/conda.py envs/graft.lock envs/graft.yaml

## prune: remove what the config does not refer to, after asking; CONFIG=overlay, ARGS=--yes
prune: $(READY)
	@$(IN)$(BIN)/python $(SCRIPTS)/prune.py $(ARGS) $(OPTIONS)

## clean: the results; distclean: the store and the environment as well
clean:
	rm -rf results .snakemake

distclean: clean
	rm -rf .mypy_cache .store $(VENV)

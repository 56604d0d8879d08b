# make train   trains SAC and draws its learning curve      make test       every test
# make bench   compares speed with other libraries          make test-long  the tests that take long
# make wheel   builds the package and tries it              make docs       builds the site of docs/
ENV ?= HalfCheetah-v5
SEED ?= 0
EPOCHS ?= 10
ARGS ?=
PYTHON ?= python3
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
RUN := $(ENV)_$(shell date +%Y-%m-%d_%H-%M-%S)
FOLDER := data/$(RUN)/$(RUN)_s$(SEED)

.PHONY: train test test-long lint check install bench bench-gpu wheel docs clean

train: $(VENV)/.train
	$(BIN)/spinup sac --env $(ENV) --exp_name $(RUN) --seed $(SEED) --epochs $(EPOCHS) $(ARGS)
	$(BIN)/spinup plot $(FOLDER) --save $(FOLDER)/curve.png
	@echo
	@echo "Learning curve: $(FOLDER)/curve.png"
	@echo "Watch it:       $(BIN)/spinup test_policy $(FOLDER)"
	@echo "Film it:        $(BIN)/spinup test_policy $(FOLDER) -n 1 --video run.mp4"
	@echo "Plot it:        $(BIN)/spinup plot $(FOLDER) --save curve.png"
	@echo "Continue it:    $(BIN)/spinup resume $(FOLDER) --epochs $$(( 2 * $(EPOCHS) ))"

test: lint check
	$(BIN)/pytest -n $(JOBS) -m "not slow and not browser"

test-long: install
	$(BIN)/pytest -n $(JOBS) -m "slow or browser"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check: install
	$(BIN)/mypy

install: $(VENV)/.dev

$(VENV)/.train: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e ".[video]"
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e ".[test,tf,video,minari,ray,tune,onnx,hub,wandb,trackio,mlflow,yaml,docs,dev]"
	touch $@ $(VENV)/.train

bench: $(VENV)/.train
	$(BIN)/python benchmarks/speed.py --tf
	$(BIN)/python benchmarks/update.py
	$(BIN)/python benchmarks/profile_step.py

bench-gpu: $(VENV)/.train
	$(BIN)/python benchmarks/gpu.py

wheel:
	$(PYTHON) tools/check_wheel.py --constraint constraints.txt

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Open build/site/index.html; for the search: python3 -m http.server -d build/site"

clean:
	rm -rf $(VENV) .bench-venv .bench-venv-tf build *.egg-info

# Two commands on a fresh machine: `make demo` and `make test`. Everything lives in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TORCH_VERSION ?= 2.13.0
# uv does not read pip's settings: hand over the folders where pip finds wheels (a CPU build of torch, say).
FIND_LINKS ?= $(or $(PIP_FIND_LINKS),$(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null))
UV := UV_FIND_LINKS="$(FIND_LINKS)" $(BIN)/uv pip
STAMP := $(VENV)/.installed

.PHONY: setup demo up test test-fast lint format bench docs lock browser pictures clean help

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## Make the virtual environment from the lock

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/pip install --quiet uv
	$(UV) install --quiet --no-config --python $(BIN)/python "torch==$(TORCH_VERSION)"
	$(UV) install --quiet --no-config --python $(BIN)/python -r requirements.lock
	$(UV) install --quiet --no-config --python $(BIN)/python --no-deps -e .
	$(UV) check --quiet --python $(BIN)/python
	touch $@

demo: setup  ## Watch a recommender improve itself on a generated platform
	$(BIN)/agenticrs demo

up: setup  ## Start API, console, MLflow and Ray together
	$(BIN)/agenticrs up

pictures: browser  ## Photograph the console for its documentation
	$(BIN)/pytest -m slow --pictures tests/ui/console/test_browser.py

browser: setup  ## Find or install Chromium for the browser tests
	@$(BIN)/python tests/browser.py

test: test-fast browser  ## Run every test, fast ones first
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow --numprocesses auto --dist loadfile --no-loadscope-reorder

# A worker for each core, and each on one thread: more would wait for each other.
test-fast: setup  ## Run the fast tests only
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not slow" --numprocesses auto

lint: setup  ## ruff, mypy --strict, the floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## Let ruff format and fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup  ## Run the quick benchmark and write benchmarks/results/*.json
	$(BIN)/python benchmarks/published.py --task generated

lock:  ## Resolve the dependencies anew
	UV_FIND_LINKS="$(FIND_LINKS)" $(BIN)/uv lock --python $(BIN)/python
	$(BIN)/uv export --quiet --frozen --all-groups --prune torch --no-hashes --no-emit-project \
		--no-header --no-annotate -o requirements.lock

clean:  ## Remove the environment and build leftovers, keep the data
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache

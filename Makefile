# The commands of this project. `make help` lists them.

.DEFAULT_GOAL := help
.PHONY: help tour test test-long test-notebook test-oldest test-newest fast lint docs page browser bench clean FORCE

BIN := .venv/bin
READY := .venv/ready
PYTHON ?=
ARGS ?=
ELSEWHERE := tests/mixers tests/kernels tests/algebra tests/beams

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

tour: $(READY) ## the guided tour: trilby in fifteen seconds
	@$(BIN)/trilby tour $(ARGS)

test: $(READY) ## lint, types, docs and all tests
	@$(MAKE) --no-print-directory --output-sync=target -j 2 lint docs
	$(BIN)/python -m pytest -n 2 $(ARGS)

fast: $(READY) ## the tests without the slow ones
	$(BIN)/python -m pytest -n 2 -m "not slow and not long and not notebook" $(ARGS)

test-long: $(READY) ## what `make test` checks on a few cases, on all of them (before a release)
	$(BIN)/python -m pytest -n 2 -m long $(ARGS)

test-oldest: ## fast tests of the mixers on the oldest versions that are supported (minutes)
test-newest: ## the same on the newest versions, and accelerated models on each release of transformers since 5.15

# Each has an environment of its own. It is brought up to date first, which takes seconds where nothing is missing.
test-oldest test-newest: test-%: FORCE
	@VENV=.venv-$* PYTHON="$(PYTHON)" sh requirements/build.sh requirements/$*.txt
	.venv-$*/bin/python -m pytest -n 2 -m "not slow and not long" $(ELSEWHERE) $(ARGS)
	@if [ $* = newest ]; then sh requirements/releases.sh .venv-newest $(ARGS); fi

test-notebook: browser FORCE ## the notebooks in JupyterLab, in a real browser (minutes)
	@VENV=.venv-notebook PYTHON="$(PYTHON)" sh requirements/build.sh requirements/notebook.txt
	.venv-notebook/bin/python -m pytest -m notebook tests/pages $(ARGS)

lint: $(READY) ## format, lint and types
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy

docs: $(READY) ## build the documentation; warnings are errors
	$(BIN)/python -m sphinx -E -W --keep-going -q docs docs/_build/html

page: page/node_modules/.package-lock.json ## build the page of trilby.explore from page/src (needs Node)
	cd page && npm --silent run check && npm --silent run build

browser: ## install what the tests of the page need: chromium by apt, axe-core and esbuild by npm
	@sh requirements/browser.sh

page/node_modules/.package-lock.json: page/package.json page/package-lock.json
	cd page && npm ci --no-audit --no-fund --silent

bench: $(READY) .venv/ready-bench ## time against other libraries (minutes; needs a quiet machine)
	$(BIN)/python benchmarks/run.py $(ARGS)

clean: ## remove what make built, .venv included
	rm -rf .venv .venv-notebook .venv-oldest .venv-newest page/node_modules docs/_build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an interrupted build is never taken for a finished one. It holds
# the folder it was made in: a clone that was copied or moved installs itself again.
$(READY): pyproject.toml requirements/dev.txt requirements/build.sh
	@PYTHON="$(PYTHON)" sh requirements/build.sh
	@echo "$(CURDIR)" > $@

.venv/ready-bench: requirements/bench.txt $(READY)
	@sh requirements/build.sh requirements/bench.txt
	@touch $@

ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
$(READY): FORCE
endif
FORCE:

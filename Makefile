# The commands of this project. `make help` lists them.

.DEFAULT_GOAL := help
.PHONY: help tour test fast lint docs bench clean FORCE

BIN := .venv/bin
READY := .venv/ready
PYTHON ?=
ARGS ?=

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' Makefile

tour: $(READY) ## the guided tour: trilby in fifteen seconds
	@$(BIN)/trilby tour $(ARGS)

test: lint docs ## lint, types, docs and all tests
	$(BIN)/python -m pytest -n 2 $(ARGS)

fast: $(READY) ## the tests without the slow ones
	$(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

lint: $(READY) ## format, lint and types
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy

docs: $(READY) ## build the documentation; warnings are errors
	$(BIN)/python -m sphinx -E -W --keep-going -q docs docs/_build/html

bench: $(READY) .venv/ready-bench ## time against other libraries (minutes; needs a quiet machine)
	$(BIN)/python benchmarks/run.py $(ARGS)

clean: ## remove what make built, .venv included
	rm -rf .venv docs/_build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
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

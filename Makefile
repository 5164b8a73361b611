# Everything that a person or CI types. `make demo` and `make test` need only Python 3.11 and make.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin
ARGS ?=
INPUTS ?= 100000
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help setup demo test check unit e2e attack soak bench pictures lint clean browser

help: ## What there is
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(VENV)/.stamp ## Install everything into .venv, at the pinned versions

# torch first and by itself: a resolver that meets it later takes gigabytes of CUDA.
$(VENV)/.stamp: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Expected Python 3.11 as '$(PYTHON)'. Install it, or say make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned versions into $(VENV) (one to three minutes) ..."
	$(RUN)/pip install --quiet "$$(grep '^torch==' requirements.lock)"
	$(RUN)/pip install --quiet --no-deps -r requirements.lock
	$(RUN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

demo: setup ## The whole story on invented toys; ARGS="--headless --data DIR --report FILE" passes options
	$(RUN)/toyfed demo $(ARGS)

lint: setup
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy recsys datasites ui
	$(RUN)/lint-imports --no-cache

unit: setup
	$(RUN)/python -m pytest -n 2 -m "not slow and not e2e and not soak" $(ARGS)

check: lint unit ## Fast inner loop: ruff, mypy, import rules, unit tests

browser: setup
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium chromium-driver; \
	  else echo "The browser tests need Chromium: install the packages chromium and chromium-driver."; exit 1; fi; }

e2e: browser ## Stories in real processes and a real headless browser
	$(RUN)/python -m pytest -m "e2e and not soak" $(ARGS)

test: lint browser ## Everything, as CI runs it
	$(RUN)/python -m pytest -n 2 --dist loadgroup -m "not soak" $(ARGS)

attack: browser ## Try to break every promise, and count: attacks, then 100,000 bad inputs a reader
	$(RUN)/python -m pytest -n 2 --dist loadgroup -m "attack and not soak" $(ARGS)
	$(RUN)/python -m tests.fuzz --inputs $(INPUTS)

soak: setup ## Long life: 200 rounds, 30 merchants, doing nothing, 200 kills; an hour
	$(RUN)/python -m benchmarks soak $(ARGS)
	$(RUN)/python -m pytest -n 2 --dist loadgroup -m soak
	$(RUN)/python -m tests.crash --random 200

pictures: browser ## Take the pictures of the pages in docs/pictures anew
	TOYFED_PICTURES=docs/pictures $(RUN)/python -m pytest -m e2e tests/e2e/test_screens.py

bench: setup ## Measure: landmarks on real toys, speed and memory
	$(RUN)/python -m benchmarks $(ARGS)

clean: ## Remove what was built (not your data)
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache

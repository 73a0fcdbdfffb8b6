# `make` alone lists what there is to make.
#
# Every target does its own set-up: a fresh clone and a Python 3.8 or newer are enough. Tools that are not
# there are installed into .venv/, never into the system.

# One make at a time, first come, first served: `make test & make lint` queue, as whole makes. make -n and -q do not
# wait, and neither do the goals in the second line, which look or rescue (`help` is what `make` alone stands for).
MAKE_SEQ := $(dir $(lastword $(MAKEFILE_LIST)))make_sequential.py
SEQ_GOALS := $(filter-out help status monitor kill-all,$(or $(value MAKECMDGOALS),help))
SEQ_TURN = $(shell '$(MAKE_SEQ)' --seq-hold $(firstword -$(MAKEFLAGS)))
export SEQEXEC_RUN := $(if $(SEQ_GOALS),$(or $(SEQ_TURN),$(error no turn)),$(value SEQEXEC_RUN))

SHELL   := /bin/sh
PYTHON  ?= python3
PRODUCT := seqexec.py memmon.py make_sequential.py

# Options for pytest, as in: make test TESTS="tests/test_queue.py -k order"
TESTS   ?=

# How long `make soak` goes on.
MINUTES ?= 5

# Nothing here leaves a file behind: no bytecode, no caches; and no plugin that happens to be installed acts.
export PYTHONDONTWRITEBYTECODE := 1
export PYTEST_DISABLE_PLUGIN_AUTOLOAD := 1

.DEFAULT_GOAL := help
.PHONY: help test test-long test-clients test-all lint format bench prove soak status monitor kill-all sync-shared clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r target text; do \
	    printf '  %-12s %s\n' "$$target" "$$text"; done

# ---- work that wants the machine for itself ----------------------------------------------------------------

test:  ## run the tests (TESTS="..." goes to pytest)
	@$(PYTHON) tests/tools/run_tests.py $(TESTS)

test-long:  ## run the tests that take long: crowds, soaks, hundreds of rounds
	@$(PYTHON) tests/tools/run_tests.py --long $(TESTS)

test-clients:  ## run the examples of the pages with the real tools (npm, just, pre-commit, cron), and skip none
	@test -x .venv/clients/bin/just || { $(PYTHON) -m venv .venv/clients && \
	    .venv/clients/bin/python -m pip --quiet install pre-commit rust-just; }
	@python=$$($(PYTHON) tests/tools/provide.py pytest) && \
	    SEQEXEC_TEST_CLIENTS=1 "$$python" -m pytest tests/test_recipes.py tests/test_watch.py

test-all:  ## what CI runs: all of them, and what a Python can change under every one from 3.8 that is here
	@$(PYTHON) tests/tools/run_tests.py --all

lint:  ## check style and types
	@python=$$($(PYTHON) tests/tools/provide.py ruff mypy) && set -- $(wildcard $(PRODUCT)) && \
	    "$$python" -m ruff check --no-cache "$$@" tests && \
	    "$$python" tests/tools/wrap_docstrings.py --check && \
	    "$$python" -m mypy --cache-dir=/dev/null "$$@"

format:  ## mend what the linter can mend by itself
	@python=$$($(PYTHON) tests/tools/provide.py ruff) && \
	    "$$python" -m ruff check --no-cache --fix $(wildcard $(PRODUCT)) tests && \
	    "$$python" tests/tools/wrap_docstrings.py

bench:  ## measure: start, wake-up, queue, memory guard, each against its peers
	@for each in tests/bench/bench_*.py; do echo "== $$each" && $(PYTHON) "$$each" || exit; done

prove:  ## every interleaving, every mutant, a kill at every system call (takes long)
	@python=$$($(PYTHON) tests/tools/provide.py pytest) && \
	    for each in tests/prove/prove_*.py; do echo "== $$each" && "$$python" "$$each" || exit; done

soak:  ## hours of random arrivals, kills and stops (MINUTES=5)
	@$(PYTHON) tests/prove/soak.py --minutes $(MINUTES)

# ---- looking and rescuing: never in the queue --------------------------------------------------------------

status:  ## show the command that runs and those that wait
	@./seqexec.py --status

monitor:  ## the same, live
	@./seqexec.py --watch

kill-all:  ## end all that runs or waits in this project, and nothing else
	@./seqexec.py --kill-all

# ---- housekeeping ------------------------------------------------------------------------------------------

sync-shared:  ## copy the shared blocks of seqexec.py to the other two files
	@$(PYTHON) tests/tools/sync_shared.py

clean:  ## remove what the targets above installed or left
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Everything a user or developer types. A fresh machine needs make, a C compiler and Python 3.11 or newer.

VENV ?= .venv
ARGS ?=
TORCH_LINKS ?= https://download.pytorch.org/whl/cpu/torch/
NAME ?=

# The first interpreter that is new enough and can make an environment (Debian splits ensurepip off).
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && command -v "$$p" && break; done)

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
VENV_VLLM ?= .venv-vllm
STAMP_VLLM := $(VENV_VLLM)/.installed
PACKAGING := pyproject.toml packaging/data.txt packaging/locked.txt packaging/install.py packaging/llama-only.cmake

.DEFAULT_GOAL := help
.PHONY: help install demo serve test coverage test-vllm lint format bench browser lock audit clean

help: ## list what can be made
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): $(PACKAGING) constraints.txt
	@test -n "$(PYTHON)" || { echo "Trilemma needs Python 3.11 or newer with the venv module (Debian, Ubuntu: apt-get install python3 python3-venv); or say which: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" packaging/install.py --venv "$(VENV)"
	@touch $@

$(STAMP_VLLM): $(PACKAGING) packaging/vllm.txt packaging/vllm-constraints.txt
	@"$(PYTHON)" packaging/install.py --venv "$(VENV_VLLM)" --vllm
	@touch $@

install: $(STAMP) ## make the environment (the others do it by themselves)

demo: $(STAMP) ## quantise two small models, measure them and show the trade-off in the browser
	@$(BIN)/python -m trilemma.demo $(ARGS)

serve: $(STAMP) ## start the dashboard and the worker
	@$(BIN)/trilemma serve $(ARGS)

# Twice: what neither measures nor drives a browser runs a process a core, the rest alone. 5: nothing was chosen.
test: lint browser ## lint, types and every test (ARGS="-k name" for some)
	@result=5; for part in "side-by-side --numprocesses auto --dist loadfile" alone; do \
		$(BIN)/python -m pytest --part $$part --durations=20 $(ARGS); code=$$?; \
		case $$code in 0) [ $$result -ne 5 ] || result=0 ;; 5) ;; *) result=$$code ;; esac; \
	done; exit $$result

coverage: browser ## which lines the tests run; the simulations take three times as long under it
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered $(ARGS)

test-vllm: $(STAMP_VLLM) ## measure with real vLLM on this CPU, in an environment of its own
	$(VENV_VLLM)/bin/python -m pytest -m vllm $(ARGS)

lint: $(STAMP) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

browser: $(STAMP) ## get a Chromium for the browser tests if there is none
	@$(BIN)/python packaging/chromium.py

bench: $(STAMP) ## run a benchmark: make bench NAME=fidelity
	@test -n "$(NAME)" || { echo "Which? make bench NAME=... with one of:" >&2; ls benchmarks/*.py | sed 's|.*/||; s|\.py$$||; /^_/d; /^common$$/d; /_engine$$/d; /_harness$$/d; /_tools$$/d; /_server$$/d' >&2; exit 2; }
	@$(BIN)/python -m benchmarks.$(NAME) $(ARGS)

lock: ## pin every dependency again, with its hashes (ARGS=--upgrade for newer versions)
	@test -x .venv-lock/bin/uv || { "$(PYTHON)" -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet uv; }
	@.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --extra demo --extra dev --no-annotate \
		--custom-compile-command "make lock" --output-file constraints.txt $(ARGS) pyproject.toml
	@.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --extra demo --extra dev --no-annotate \
		--generate-hashes --constraint constraints.txt --custom-compile-command "make lock" \
		--output-file packaging/locked.txt pyproject.toml
	@.venv-lock/bin/uv pip compile --quiet --python-version 3.11 --extra demo --extra dev --no-annotate \
		--find-links $(TORCH_LINKS) --no-emit-find-links --custom-compile-command "make lock" \
		--output-file packaging/vllm-constraints.txt $(ARGS) pyproject.toml packaging/vllm.txt

audit: ## ask PyPI for known vulnerabilities of the pinned packages
	@test -x .venv-lock/bin/pip-audit || { test -x .venv-lock/bin/python || "$(PYTHON)" -m venv .venv-lock; .venv-lock/bin/python -m pip install --quiet pip-audit; }
	@# Strict: what cannot be looked up is no proof of anything. PyPI knows no local versions (torch's +cpu).
	@for file in constraints.txt packaging/vllm-constraints.txt; do \
		sed 's/+cpu//' $$file > .venv-lock/audited.txt; \
		.venv-lock/bin/pip-audit --strict --requirement .venv-lock/audited.txt --no-deps --disable-pip --progress-spinner off $(ARGS) || exit 1; done

clean: ## remove the environments and what tools left behind; measured data stays
	rm -rf $(VENV) .venv-* .coverage htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis .bench build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

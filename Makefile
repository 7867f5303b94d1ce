# make setup   the environment alone (.venv)
# make demo    train the sentiment recipe on toy data, export it, read one sentence with it
# make test    every test, on TensorFlow;  make test-jax, make test-torch: those of the package,
#              on JAX and on PyTorch
# make test-fuzz   3,000 random cases against NumPy (500 on JAX: KERAS_BACKEND=jax); SEED=7 repeats
# make chromium, make litert   what tests of pages in a browser need beside Python, by apt and npm
# make docs    the site, into build/docs: pages, reference and tutorials, which it runs
# make lint    ruff, types (mypy), spelling (codespell) and words that must not occur

VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
DEMO := saved_models/sentiment_analysis
# In order: files that wait for the same trained model then do not run side by side.
PYTEST := $(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: setup demo test test-jax test-torch test-fuzz chromium litert docs lint clean

setup: $(READY)

# TensorFlow has wheels for these versions alone. A name that is found may still be an empty shim,
# so each is run before it is believed.
$(READY): setup.cfg pyproject.toml
	@python=; for name in python3.13 python3.12 python3.11 python3 python; do \
		if $$name -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
			python=$$name; break; \
		fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "make: needs Python 3.11, 3.12 or 3.13 with the venv module: TensorFlow 2.21 has wheels for no other." >&2; \
		echo "      On Debian or Ubuntu: apt install python3.11 python3.11-venv" >&2; \
		exit 2; \
	fi; \
	echo "Setting up $(VENV) with $$python (about 4 GB, some minutes the first time)"; \
	rm -rf $(VENV) && $$python -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: setup
	$(PYTHON) -m recipes.sentiment_analysis train --data toy --output $(DEMO)
	$(PYTHON) -m recipes.sentiment_analysis predict $(DEMO) \
		"The soup was cold, but it was not bad."

# Most of it is compiling: XLA's machine code stays unpolished, comes from its shorter emitters, and
# in one piece, as the tests run on all cores already.
# Recipes and random cases are compiled as users compile, and so is what demo and documents run.
QUICK_XLA := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false \
	--xla_cpu_parallel_codegen_split_count=1

test: setup
	XLA_FLAGS="$${XLA_FLAGS-$(QUICK_XLA)}" $(PYTEST) --ignore tests/fuzz --ignore tests/recipes
	$(PYTEST) tests/recipes tests/fuzz

# What JAX compiled is kept, so that a second run takes a third of the time.
test-jax: export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/$(VENV)/jax_cache
test-jax: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0
test-jax: export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES ?= -1
test-jax: export KERAS_BACKEND := jax
test-jax: setup
	XLA_FLAGS="$${XLA_FLAGS-$(QUICK_XLA)}" $(PYTEST) --ignore tests/fuzz --ignore tests/recipes
	$(PYTEST) tests/fuzz

# PyTorch is installed here alone. Its wheel for Linux on PyPI brings CUDA, 3 GB to download; that
# without, 0.2 GB, is on an index of its own, which one sets for a machine that reaches it:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test-torch
TORCH := $(VENV)/.torch

$(TORCH): $(READY)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@touch $@

# Of small tensors two threads take longer than one.
test-torch: export OMP_NUM_THREADS ?= 1
test-torch: setup $(TORCH)
	KERAS_BACKEND=torch $(PYTEST) --ignore tests/recipes --ignore recipes \
		--ignore tests/test_benchmarks.py

# Pages that run a model are tested in a browser. Where this or LiteRT.js is missing, they are not.
chromium:
	command -v chromium > /dev/null || \
		{ apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends chromium; }

# By the command that the pages' own documents name, into a folder that `make clean` removes.
litert: setup
	$$($(PYTHON) -c 'from recipes.kit.web import INSTALL; print(INSTALL)') --prefix $(VENV)

# Others at each call, unless SEED is given, as to repeat a failure.
test-fuzz: SEED := $(or $(SEED),$(shell od -An -N4 -tu4 /dev/urandom | tr -d ' '))
test-fuzz: setup
	@echo "SEED=$(SEED)"
	$(PYTHON) -m pytest -n 2 --dist load tests/fuzz --hypothesis-profile=fuzz --hypothesis-seed=$(SEED)

# What did not change is not built or run again; a warning is an error.
docs: setup
	$(PYTHON) -m sphinx --fail-on-warning --keep-going --quiet docs build/docs
	@echo "Open build/docs/index.html"

lint: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m codespell_lib
	$(PYTHON) -m pytest -q --noconftest -p no:cacheprovider tests/test_words.py
	$(PYTHON) -m mypy

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build *.egg-info

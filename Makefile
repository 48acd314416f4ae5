# What people type:
#   make profile OP=broadcast_add SHAPE=512x512 DTYPE=float32    build, measure, say where the result is
#   make test                                                    every check and every test
#   make bench ARGS=--quick                                      every kernel against NumPy, numexpr, torch and numba
#   make docs                                                    the pages of docs/ that are written from the program itself
#   make install PREFIX=~/.local                                 the command, its manual pages and completions
#   make wheels PYTHONS="python3.9 python3.13"                   wheels of both packages, tried in fresh environments
#   make test-container                                          the image and the scripts on a Docker Engine, where one answers
#   make build | lint | clean

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
OP ?= broadcast_add
SHAPE ?= 512x512
PREFIX ?= /usr/local
DTYPE ?= float32
PYTHONS ?= $(PYTHON)
# More options of raptors-prof, or of scripts/bench.py.
ARGS ?=

TARGET := $(or $(CARGO_TARGET_DIR),target)
PROF := $(TARGET)/release/raptors-prof
VENV := .venv
VENV_PYTHON := $(VENV)/bin/python
BENCH := .venv-bench
BENCH_PYTHON := $(BENCH)/bin/python
WHEELS := .venv-wheels
PINS := pyext/requirements-dev.txt
PROFILER_PINS := profiler/requirements-dev.txt
WHEEL_PINS := scripts/requirements-wheels.txt
NUMPY_PIN := pyext/requirements-numpy.txt
BENCH_PINS := scripts/requirements-bench.txt
EXTENSION := Cargo.toml Cargo.lock $(shell find pyext kernels -type f \
	\( -name '*.rs' -o -name '*.toml' -o -name '*.py' -o -name '*.pyi' \) -not -path '*/build/*')
PROFILER := Cargo.lock $(shell find profiler -type f \( -name '*.rs' -o -name '*.toml' -o -path '*/raptors_prof/*.py' -o -path '*/templates/*' \))
SCRIPTS := .ci/run $(shell grep -lrsE '^\#!.*\b(ba)?sh\b' scripts container)

# The interpreter that the extension is built for, in every cargo command alike.
export PYO3_PYTHON := $(CURDIR)/$(VENV_PYTHON)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: build profile bench test docs test-container wheels lint install clean rust binary

build: binary $(VENV)/extension.stamp

profile: build
	$(PROF) --op $(OP) --shape $(SHAPE) --dtype $(DTYPE) --python $(VENV_PYTHON) $(ARGS)

bench: $(BENCH)/extension.stamp
	$(BENCH_PYTHON) scripts/bench.py $(ARGS)

test: lint build $(VENV)/profiler.stamp
	RAPTORS_PROF_PYTHON="$(CURDIR)/$(VENV_PYTHON)" cargo test --locked --workspace
	cargo test --locked -p raptors-kernels --features scalar
	$(VENV_PYTHON) -m pytest pyext
	cd profiler && "$(CURDIR)/$(VENV_PYTHON)" -m pytest

docs: rust
	RAPTORS_PROF_WRITE_DOCS=1 cargo test --locked -q -p raptors-prof --test docs the_references

test-container: build
	container/tests/run.sh "$(CURDIR)/$(VENV_PYTHON)" "$(abspath $(PROF))"

wheels: $(WHEELS)/pins.stamp rust
	PATH="$(CURDIR)/$(WHEELS)/bin:$$PATH" scripts/wheels.sh $(PYTHONS)

lint: rust $(VENV)/pins.stamp
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked -p raptors-kernels --all-targets --features scalar -- -D warnings
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy --strict profiler/tests/read_formats.py
	cd scripts && "$(CURDIR)/$(VENV_PYTHON)" -m mypy --strict bench.py bench_peers.py
	$(VENV_PYTHON) -m mypy --strict container/tests/*.py
	cd profiler && "$(CURDIR)/$(VENV_PYTHON)" -m mypy
	cd pyext && "$(CURDIR)/$(VENV_PYTHON)" -m mypy
	@command -v shellcheck > /dev/null || { echo 'make: shellcheck is missing: apt-get install shellcheck' >&2; exit 1; }
	shellcheck -x $(SCRIPTS)

# DESTDIR is for packagers.
SHARE = $(DESTDIR)$(PREFIX)/share
install: binary
	install -D $(PROF) $(DESTDIR)$(PREFIX)/bin/raptors-prof
	install -d $(SHARE)/man/man1 $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	$(PROF) man --out $(SHARE)/man/man1
	$(PROF) completions bash > $(SHARE)/bash-completion/completions/raptors-prof
	$(PROF) completions zsh > $(SHARE)/zsh/site-functions/_raptors-prof
	$(PROF) completions fish > $(SHARE)/fish/vendor_completions.d/raptors-prof.fish

clean:
	cargo clean
	rm -rf $(VENV) $(BENCH) $(WHEELS)

binary: rust
	cargo build --locked --release -p raptors-prof

rust:
	@command -v cargo > /dev/null || { echo 'make: cargo is missing: Rust comes from https://rustup.rs' >&2; exit 1; }

$(VENV)/created.stamp $(BENCH)/created.stamp $(WHEELS)/created.stamp:
	@command -v $(PYTHON) > /dev/null \
		|| { echo 'make: $(PYTHON) is missing: apt-get install python3, or name another with PYTHON=' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'make: $(PYTHON) is older than Python 3.11, which the pinned packages need: name a newer one with PYTHON=' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null \
		|| { echo 'make: $(PYTHON) has no venv: apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv --clear $(@D)
	@touch $@

$(VENV)/pins.stamp: $(PINS) $(NUMPY_PIN) $(VENV)/created.stamp
	$(VENV_PYTHON) -m pip install -q -r $(PINS)
	@touch $@

$(VENV)/extension.stamp: $(EXTENSION) $(VENV)/pins.stamp | rust
	$(VENV_PYTHON) -m pip install -q --no-deps --force-reinstall ./pyext
	@touch $@

$(VENV)/profiler.stamp: $(PROFILER) $(PROFILER_PINS) $(VENV)/pins.stamp | binary
	$(VENV_PYTHON) -m pip install -q -r $(PROFILER_PINS)
	$(VENV_PYTHON) -m pip install -q --no-deps --force-reinstall ./profiler
	@touch $@

$(WHEELS)/pins.stamp: $(WHEEL_PINS) $(WHEELS)/created.stamp
	$(WHEELS)/bin/python -m pip install -q -r $(WHEEL_PINS)
	@touch $@

# A library that does not install is left out: the table says that it is missing.
$(BENCH)/pins.stamp: $(BENCH_PINS) $(NUMPY_PIN) $(BENCH)/created.stamp
	$(BENCH_PYTHON) -m pip install -q -r $(NUMPY_PIN)
	$(BENCH_PYTHON) -m pip install -q -r $(BENCH_PINS) \
		|| for pin in $$(grep '^[A-Za-z]' $(BENCH_PINS)); do \
			$(BENCH_PYTHON) -m pip install -q --no-deps "$$pin" || echo "make: $$pin does not install: what needs it is not measured" >&2; \
		done
	@touch $@

$(BENCH)/extension.stamp: export PYO3_PYTHON := $(CURDIR)/$(BENCH_PYTHON)
$(BENCH)/extension.stamp: $(EXTENSION) $(BENCH)/pins.stamp | rust
	$(BENCH_PYTHON) -m pip install -q --no-deps --force-reinstall ./pyext
	@touch $@

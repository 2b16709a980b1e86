# Every target does its own set-up, in .venv; what is up to date is not done again.
#
#   make demo     run the demo                      make test     the tests but the slow ones, on both builds, in minutes
#   make lint     ruff and mypy                     make test-all all tests, on both builds
#   make format   let ruff tidy up                  make build    compile the hot modules in place
#   make faults   write docs/faults.md, from tests  PYTEST_ARGS="-k close" make test
#   make fuzz     look for inputs that break it     FUZZ_SECONDS=600 FUZZ_TARGET=request make fuzz
#   make mutants  find lines that no test checks     MUTANTS=closing/table make mutants
#   make bench    compare with other libraries      BENCH_ARGS=--quick make bench
#   make asan     tests of the core, and all seeds, with AddressSanitizer
#   make security write docs/security.md, likewise  make clean    remove all that was built
#   make hostile  attacks on a server, full size    PYTEST_ARGS="-k pings" make hostile
#   make bench-hostile  how long a good client waits while hostile ones attack (BENCH_ARGS="--seconds 2 --only pings")
#
# PYTHON=python3.13 chooses the interpreter of a new .venv. REQUIRE_CYTHON=1: no compiler is an error, not a notice.
# WASCLEAN_REQUIRE_PEERS=1: a missing peer (Node, Chromium, ...) is a failure, not a skipped test.

SHELL := /bin/bash
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
SOURCES := setup.py $(shell find src -name '*.py' -o -name '*.pyx' -o -name '*.pxd')
CANDIDATES := $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11
COMPILER = $(or $(shell command -v $(CC)),$(shell command -v gcc),$(shell command -v clang))
HEADER = $(wildcard $(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h)

LIBASAN = $(shell gcc -print-file-name=libasan.so 2>/dev/null)
FUZZ_SECONDS ?= 60
FUZZ_TARGETS = $(or $(FUZZ_TARGET),$(sort $(notdir $(basename $(wildcard fuzz/targets/*.py)))))

.PHONY: demo test test-all lint format bench hostile bench-hostile build faults security fuzz mutants asan peers clean again

demo: .venv/built
	@$(BIN)/wasclean demo

# Two processes of pytest for each core, for half of the time is waiting; one where the slow tests keep the cores busy.
# What PYTEST_ARGS says comes last, and so counts: "-n 0" for one process, "-m slow".
test: TESTS = -m 'not slow'
test: WORKERS = $$($(BIN)/python -c 'import os; print(2 * (os.cpu_count() or 1))')
test-all: WORKERS = auto
test test-all: .venv/built .venv/test peers
	@failed=0; summary=; \
	for build in $$(cat .venv/built) $$(grep -v pure .venv/built >/dev/null && echo pure); do \
	    echo; echo "=== Tests on the $$build build ==="; \
	    case $$build in pure) export WASCLEAN_PURE=1;; *) unset WASCLEAN_PURE;; esac; \
	    if $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS) $(PYTEST_ARGS); then result=passed; else result=FAILED; failed=1; fi; \
	    summary="$$summary  $$build build: $$result."; \
	done; \
	grep -q compiled .venv/built || summary="$$summary  compiled build: not tested (no C compiler)."; \
	echo; echo "=== make $@:$$summary ==="; exit $$failed

lint: .venv/built .venv/test .venv/lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/lint
	$(BIN)/ruff check --fix --exit-zero
	$(BIN)/ruff format

bench: .venv/built .venv/bench $(if $(shell command -v npm),bench/node_modules/.installed)
	@$(BIN)/python -m bench $(BENCH_ARGS)

hostile: .venv/built .venv/test
	@WASCLEAN_FULL_ATTACKS=1 $(BIN)/python -m pytest tests/hostile $(PYTEST_ARGS)

bench-hostile: .venv/built .venv/test
	@WASCLEAN_FULL_ATTACKS=1 $(BIN)/python bench/hostile.py $(BENCH_ARGS)

build: .venv/built
	@echo "$$(cat .venv/built) build, in src/"

faults: .venv/built .venv/test
	@$(BIN)/python -m tests.faults.table

# On the compiled build the sources run beside it: the two are compared, and it is the sources that guide libFuzzer.
fuzz: .venv/built .venv/test .venv/fuzz
	@failed=; \
	for target in $(FUZZ_TARGETS); do \
	    for build in $$(cat .venv/built) $$(grep -v pure .venv/built >/dev/null && echo pure); do \
	        echo; echo "=== Fuzzing $$target on the $$build build for $(FUZZ_SECONDS) s ==="; \
	        case $$build in pure) export WASCLEAN_PURE=1;; *) unset WASCLEAN_PURE;; esac; \
	        $(BIN)/python -m fuzz $$target -max_total_time=$(FUZZ_SECONDS) || failed="$$failed $$target ($$build)"; \
	    done; \
	done; \
	[ -z "$$failed" ] || { echo; echo "=== make fuzz: failed:$$failed. What was found:"; ls .fuzz/*/found/*; exit 1; }

# The interpreter of closings and their liveness, on the pure build: each mutant must make a test of the core fail.
mutants: .venv/test
	@WASCLEAN_PURE=1 $(BIN)/python -m mutants $(MUTANTS)

# No leaks: CPython frees little at its end. PYTHONMALLOC: Python's own allocator would hide the borders of its blocks.
# --capture=sys: a report is written to the file of stderr by a process that ends with it.
asan: build/asan/built .venv/test
	@export LD_PRELOAD=$(LIBASAN) ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	    PYTHONMALLOC=malloc PYTHONPATH=build/asan/lib WASCLEAN_PURE=; \
	$(BIN)/python -c 'import wasclean; assert wasclean.compiled and "build/asan" in wasclean.__file__, wasclean.__file__' && \
	$(BIN)/python -m pytest --capture=sys $(PYTEST_ARGS) \
	    tests/wire/test_{octets,frames,messages,receiver,sender,builds}.py tests/test_connection.py tests/test_fuzz_seeds.py

security: .venv/built .venv/test
	@$(BIN)/python -m tests.security.table

clean:
	rm -rf .venv .bench .fuzz build dist src/*.egg-info {tests/peers,bench}/node_modules .mypy_cache .pytest_cache .ruff_cache
	find src -name '*.so' -delete

# The interpreter: the first candidate that runs and is new enough.
.venv/created:
	@for python in $(CANDIDATES); do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "Creating .venv with $$($$python --version)"; rm -rf .venv; \
	        if $$python -m venv .venv; then touch $@; exit 0; fi; \
	        rm -rf .venv; echo "$$python cannot make a virtual environment. On Debian: apt-get install python3-venv" >&2; exit 1; \
	    fi; \
	done; \
	echo "wasclean needs Python 3.11 or later, and found none. On Debian 12 or later:" >&2; \
	echo "    apt-get install python3 python3-venv python3-dev gcc make" >&2; exit 1

.venv/installed: .venv/created pyproject.toml
	@echo "Installing wasclean (editable) and what it needs"
	@$(PIP) install 'setuptools>=77' 'Cython>=3.1'
	@WASCLEAN_PURE=1 $(PIP) install --no-build-isolation --editable '.[fast,cli]'
	@touch $@

# One stamp for each extra of pyproject.toml that a target needs.
.venv/test .venv/lint .venv/bench .venv/fuzz: .venv/%: .venv/installed
	@echo "Installing the tools for $*"
	@WASCLEAN_PURE=1 $(PIP) install --no-build-isolation --editable '.[$*]'
	@touch $@

# The compiled modules lie beside their sources. The stamp says which build it is: compiled or pure; a pure one is tried anew.
.venv/built: .venv/installed $(SOURCES) $(if $(findstring pure,$(shell cat .venv/built 2>&1)),again)
	@rm -f $@
	@if [ -n "$(COMPILER)" ] && [ -n "$(HEADER)" ]; then \
	    echo "Compiling the hot modules"; \
	    WASCLEAN_PURE= REQUIRE_CYTHON=1 $(BIN)/python setup.py --quiet build_ext --inplace && echo compiled > $@; \
	else \
	    echo "NOTICE: no $(if $(COMPILER),Python.h,C compiler): using the pure build, complete but slower. On Debian: apt-get install gcc python3-dev" >&2; \
	    if [ -n "$${REQUIRE_CYTHON:-}" ]; then echo "REQUIRE_CYTHON is set, so that is an error." >&2; exit 1; fi; \
	    find src -name '*.so' -delete; echo pure > $@; \
	fi

# Never in src/: these modules run only with the sanitizers' libraries.
build/asan/built: .venv/installed $(SOURCES)
	@case "$(LIBASAN)" in /*) ;; *) echo "make asan needs gcc with its libasan. On Debian: apt-get install gcc" >&2; exit 1;; esac
	@echo "Compiling the hot modules with AddressSanitizer and UndefinedBehaviorSanitizer"
	@rm -rf build/asan
	@CC=gcc WASCLEAN_SANITIZE=1 WASCLEAN_PURE= REQUIRE_CYTHON=1 \
	    $(BIN)/python setup.py --quiet build --build-lib build/asan/lib --build-temp build/asan/objects
	@touch $@

# The JavaScript peers of the tests; without npm those tests are skipped.
peers: $(if $(shell command -v npm),tests/peers/node_modules/.installed)

tests/peers/node_modules/.installed bench/node_modules/.installed: %/node_modules/.installed: %/package.json %/package-lock.json
	@echo "Installing the JavaScript peers of $*"
	@cd $* && npm ci --silent --no-audit --no-fund
	@touch $@

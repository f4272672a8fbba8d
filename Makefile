# Set PYTHON to choose the interpreter and VENV to keep one environment for each:
#   make unit PYTHON=python3.9 VENV=.venv-3.9
PYTHON ?= python3
VENV ?= .venv
# Extras to install besides those for development: make unit EXTRAS=,wsaccel VENV=.venv-wsaccel
EXTRAS ?=
# What an environment is for: `test` has what runs the tests, and no more.
FOR ?= dev

# More arguments for every pytest started here: make unit PYTEST_ARGS='-x -k close'
PYTEST_ARGS ?=
# What `make autobahn` runs: a set of cases, or one case or pattern of cases: CASE='6.4.*'
SET ?= full
CASE ?=
# `make fuzz` tries COUNT streams, and lets atheris try TARGETS for SECONDS each. The same SEED
# makes the same streams.
SEED ?= $(shell $(PYTHON) -c 'import random; print(random.randrange(2**32))')
COUNT ?= 1000000
# `make coverage-own` measures these modules of the core alone, where some are given.
MODULES ?=
# `make soak` lasts for SECONDS, besides opening and closing, and writes a page for each ENGINE.
SECONDS ?= 600
TARGETS ?= stream inflate request response extensions lists url length
ENGINE ?= standalone

BIN := $(VENV)/bin
# The pip that comes with an old Python takes twice as long as today's.
CREATE := $(PYTHON) -m venv --upgrade-deps
PYTEST := $(BIN)/python -m pytest -ra
# Unit tests wait for sockets and programs, more than they compute.
SEVERAL := -n 4 --dist loadgroup --no-loadscope-reorder
AUTOBAHN := $(BIN)/python -m test.autobahn.run $(if $(CASE),--case '$(CASE)',--set '$(SET)' --shards 2)
UNIT := not autobahn and not browser and not interop and not stress and not fuzz and not hostile and not docs

.DEFAULT_GOAL := help
.PHONY: help demo venv check format test unit quick brief oldest coverage coverage-own package wsaccel \
	sanitize hostile control interop peers autobahn wstest fuzz soak docs benchmark benchmark-targets \
	benchmark-full clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo:  ## start the example chat, which prints its address (needs only Python)
	@PYTHONPATH=. exec $(PYTHON) example/chat.py

venv: $(VENV)/.installed  ## create the environment, again when what it is made of changes

$(VENV)/.installed: pyproject.toml setup.py speedups/*
	test -x $(BIN)/pip || $(CREATE) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(FOR)$(EXTRAS)]'
	@touch $@

check: venv  ## lint, format, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict ws4py benchmark/*.py
	$(BIN)/python -m pytest --quiet test/test_layers.py

format: venv  ## mend what can be mended by machine
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

test: venv wstest peers  ## run the whole test suite
	$(PYTEST) $(SEVERAL) -m '$(UNIT)' $(PYTEST_ARGS)
	$(PYTEST) -n 3 -m hostile $(PYTEST_ARGS)
	$(PYTEST) -n 2 -m fuzz $(PYTEST_ARGS)
	$(PYTEST) -n 4 -m docs $(PYTEST_ARGS)
	$(PYTEST) -m 'not ($(UNIT)) and not hostile and not fuzz and not docs' $(PYTEST_ARGS)

unit: venv  ## run the tests that need nothing but Python
	$(PYTEST) $(SEVERAL) -m '$(UNIT)' $(PYTEST_ARGS)

# What masks, or stands upon that.
MASKS := test/test_wsaccel.py test/test_masking*.py test/test_framing*.py test/test_messaging.py \
	test/test_streaming*.py test/test_receiving*.py test/test_sending*.py test/test_together.py \
	test/test_websocket*.py test/autobahn/test_autobahn.py

# In pure Python, so that wsaccel is what masks, and not our own compiled module.
wsaccel: wstest  ## run the tests of what masks, and Autobahn's core, with wsaccel
	$(MAKE) venv EXTRAS=,wsaccel VENV=.venv-wsaccel
	WS4PY_PURE=1 .venv-wsaccel/bin/python -m pytest -ra $(SEVERAL) $(MASKS) \
		-m '$(UNIT) or wsaccel' $(PYTEST_ARGS)

# In pure Python, since what is compiled takes the place of lines of Python; which are watched, and
# so take many times as long. CPython 3.11, where it is watched, can run for ever in what it calls
# when greenlets of a thread that has ended are freed: a pending call, in which another one waits.
MEASURED := WS4PY_PURE=1 WS4PY_TEST_TIMEOUT_SCALE=10 $(BIN)/python -m coverage

coverage: venv  ## measure what the unit tests reach, and demand 98 % of branches
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] == (3, 11))' || \
		{ echo 'CPython 3.11 may hang here: make coverage PYTHON=python3.12 VENV=.venv-3.12'; exit 1; }
	$(BIN)/python -m coverage erase
	$(MEASURED) run -m pytest -ra -n 2 --dist loadgroup --no-loadscope-reorder -m '$(UNIT)' $(PYTEST_ARGS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report
	$(BIN)/python -m test.branches

coverage-own: venv  ## demand that each module of the core is reached by its own tests (MODULES=framing)
	$(BIN)/python -m test.own_coverage $(MODULES)

# Engines of the conformance class that are driven, or served, as another of them is.
TWINS := test_conformance and (werkzeug or cheroot or hypercorn or uvloop or tornado-client or [run-)

# What the middle Pythons run of the unit tests: what may differ between them. See CONTRIBUTING.md.
QUICK := --ignore-glob='test/test_snippets*' --ignore-glob='test/test_cli*' \
	--ignore-glob='test/test_draining*' --ignore-glob='test/test_chat*' \
	--ignore-glob='test/test_receiving*' --ignore-glob='test/test_framing*' \
	--ignore-glob='test/test_streaming*' --ignore=test/test_wsgi_servers.py \
	--ignore=test/test_examples.py --ignore=test/test_readme.py --ignore=test/test_install.py \
	--ignore=test/test_benchmark.py --ignore=test/test_gevent.py --ignore=test/test_wsaccel.py \
	--ignore=test/fuzz

quick: venv  ## run the unit tests that may differ from one Python to another
	$(PYTEST) $(SEVERAL) $(QUICK) -k 'not (wss and $(TWINS))' -m '$(UNIT)' $(PYTEST_ARGS)

# What meets an engine.
ENGINES := test/test_conformance.py test/test_cherrypy*.py test/test_gevent*.py test/test_tornado*.py \
	test/test_asgi*.py test/test_asyncio*.py test/test_wsgi*.py test/test_environs.py \
	test/test_draining_engines.py test/test_strict_heads.py test/test_send_at_once.py test/test_cli.py
# And of that, what needs the standard library alone.
NO_ENGINE := test_conformance and (standalone or wsgiref or [asyncio or threaded or managed or [run-)

# PyPy starts programs slowly, and has little time to compile what a test runs once.
BRIEF := test/test_framing.py test/test_messaging.py test/test_masking.py test/test_utf8validator.py \
	test/test_deflate.py test/test_h*.py test/test_exc.py test/test_limits.py test/test_pollers.py \
	test/test_loop*.py test/test_driver*.py test/test_transport*.py test/test_websocket*.py \
	test/test_sending*.py test/test_together.py test/test_outgoing*.py test/test_closing*.py \
	test/test_receiving_process.py test/test_manager*.py test/test_client*.py \
	test/test_threadedclient.py test/test_standalone.py test/test_conformance.py

brief: venv  ## run the unit tests of the core, and conformance over ws
	$(PYTEST) $(SEVERAL) $(BRIEF) -k 'not wss and not ($(TWINS))' -m '$(UNIT)' $(PYTEST_ARGS)

# With the oldest releases that are supported of all engines, on a Python that they install on.
oldest:  ## run the unit tests with the oldest releases of the engines (PYTHON=python3.9)
	test -x .venv-oldest/bin/pip || $(CREATE) .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint test/oldest.txt --editable '.[test,wsaccel]'
	.venv-oldest/bin/python -m pytest -ra $(SEVERAL) $(ENGINES) -k 'not ($(NO_ENGINE))' -m '$(UNIT)' \
		$(PYTEST_ARGS)

package: venv  ## build the sdist and two wheels, compiled and pure, and check them
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	WS4PY_PURE=1 $(BIN)/python -m build --no-isolation --wheel
	$(BIN)/python -m twine check --strict dist/*

# A copy, whose compiled module stops at the first access to memory that is not its own, and at what C
# leaves undefined. With Python's own allocator each object would not be apart, and CPython leaves
# much behind when it ends, so leaks are looked for by test_speedups_memory.py and not here.
SANITIZED := build/sanitized
SANITIZE := -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all
COMPILED_TESTS := test/test_speedups*.py test/test_masking*.py test/test_framing*.py \
	test/test_messaging.py test/test_streaming*.py test/test_sending*.py test/test_together.py \
	test/test_manager*.py test/test_receiving*.py test/test_outgoing*.py test/fuzz/test_wire_fuzz.py \
	test/fuzz/test_compiled.py test/fuzz/test_reference.py

sanitize: venv  ## run the tests of what is compiled with the sanitizers of gcc
	rm -rf $(SANITIZED) && mkdir -p $(SANITIZED)/test
	cp -R setup.py pyproject.toml README.md LICENSE speedups ws4py $(SANITIZED)
	cp -R test/*.py test/fuzz $(SANITIZED)/test
	rm -f $(SANITIZED)/ws4py/*.so
	cd $(SANITIZED) && CC=gcc CFLAGS='-O1 -g -fno-omit-frame-pointer -Wall -Wextra -Werror $(SANITIZE)' \
		$(abspath $(BIN))/python setup.py --quiet build_ext --inplace
	nm --dynamic $(SANITIZED)/ws4py/_speedups.*.so | grep -q __asan_init
	cd $(SANITIZED) && LD_PRELOAD="$$(gcc -print-file-name=libasan.so)" PYTHONMALLOC=malloc \
		ASAN_OPTIONS=detect_leaks=0:log_path=found UBSAN_OPTIONS=print_stacktrace=1:log_path=found \
		WS4PY_FUZZ_STREAMS=3000 $(abspath $(BIN))/python -m pytest -ra -n 2 \
		$(COMPILED_TESTS) $(PYTEST_ARGS) || { cat found.* 2>/dev/null; exit 1; }

hostile: venv  ## attack every engine and every client from outside
	$(PYTEST) -n 3 -m hostile $(PYTEST_ARGS)

control: venv  ## turn the same attacks against the library websockets (ten minutes)
	$(BIN)/python -m test.hostile.control

interop: venv peers  ## exchange compressed messages with other implementations
	$(PYTEST) -m interop $(PYTEST_ARGS)

# A peer that runs in Node. Without npm its tests are skipped, and say so.
peers:
	test -z "$$(command -v npm)" || \
		npm install --prefix test/interop --no-package-lock --no-audit --no-fund

# The page is made of whole runs of all alone.
autobahn: venv  ## run the Autobahn suite on every engine (SET=ci, CASE=6.4.3), and write its page
	sh test/autobahn/setup.sh .wstest
	$(AUTOBAHN) --all
ifeq ($(SET)$(CASE),full)
	$(BIN)/python -m test.autobahn.page docs/conformance.md
endif

# The Autobahn suite runs on CPython 2.7 only, so it has an environment of its own. Status 3 means
# that there is no 2.7 here: its tests are then skipped, and say so.
wstest:
	sh test/autobahn/setup.sh .wstest || [ $$? -eq 3 ]

fuzz: venv  ## look longer for input that is read wrong (COUNT, SEED, SECONDS, TARGETS)
	$(BIN)/python -m test.fuzz.campaign $(SEED) $(COUNT)
	for target in $(TARGETS); do \
		$(BIN)/python -m test.fuzz.guided $$target $(SECONDS) $(SEED) || exit; \
	done

soak: venv  ## run 10 000 connections for ten minutes, and judge the server (SECONDS, ENGINE)
	$(BIN)/python -m test.soak --seconds $(SECONDS) --engine $(ENGINE) \
		--report docs/soak$(if $(filter-out standalone,$(ENGINE)),-$(ENGINE)).md

docs: venv  ## build the documentation into docs/_build/html
	$(MAKE) -C docs html VENV=$(abspath $(VENV))

# Each writes its page, with plots, of the machine that it ran on.
BENCHMARK = $(BIN)/python -m benchmark.run --page docs/benchmarks.md \
	--json benchmark/build/$(1).json --set $(1)

benchmark: venv  ## measure the speed beside the best known peers (ten minutes), and write its page
	$(call BENCHMARK,short)

benchmark-targets: venv  ## measure how far the targets of speed are met (half an hour)
	$(call BENCHMARK,targets)

benchmark-full: venv  ## measure the speed beside all peers (75 minutes)
	$(call BENCHMARK,full)

clean:  ## remove all that these targets made
	rm -rf .venv $(VENV) .venv-* benchmark/.venv* .wstest .tox
	rm -rf build benchmark/build ws4py/_speedups.*.so dist docs/_build *.egg-info
	rm -rf test/interop/node_modules
	rm -rf .coverage .coverage.* .fuzz .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Two commands set up everything: `make compare` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/runtime
READY := $(VENV)/ready
EXTRAS := test,servers,browser,dask,docs,notebooks
OLDEST := .venv-oldest
RALLY := .venv-rally
OPENSTACK := .venv-openstack
# Tests of what differs, or may differ, between releases of Cinder.
ON_OLDEST := (mixture or rescheduling or clone_limit or quota or stale or lru or herd or refused or installed or standins) and not upload or encrypted_uploads-no-op

# Many processes are started here, each of which would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

COMPILED := $(BIN)/cinder-cache run scenarios/full_arrays.yaml --strategy store-only --engine fast >/dev/null

# What an edit needs at once: nothing here compiles engine `fast`, which runs as plain Python.
UNITS := $(addprefix tests/,test_arrays.py test_trace.py test_scenario.py test_metrics.py test_statistics.py \
	test_results.py test_findings.py planner/test_pickers.py \
	properties/test_cache_machine.py properties/test_array_machine.py fast/test_interpreted.py)

# Where `make lab` keeps its cloud.
LAB ?= out/lab

.PHONY: figures storm compare check units test lint docs map compiled prove releases fuzz killed coverage branches \
	bench interrupted lab lab-stop lab-short lab-deployed is-it-true clean

storm: $(READY)  ## the storm of docs/storms.md: its tables and its picture
	.venv/bin/cinder-cache storm scenarios/two_tiers.yaml --creates 500 --image ubuntu-22.04 --out storm-two-tiers
	mkdir -p docs/storm
	cp $(addprefix storm-two-tiers/,times.csv shares.csv levers.csv storm.png) docs/storm

figures: storm  ## the figures of README.md and docs that a simulation makes, in minutes; REAL= is the folder of the real month, which is not here
	$(BIN)/python -m lab report
	MPLBACKEND=agg $(BIN)/python -m docs.figures $(REAL)

# Engine fast is compiled for later commands with what the comparison leaves of the processors.
compare: $(RUNTIME)  ## compare the strategies on the repo's own scenario
	@nice -n 19 $(COMPILED) & \
	echo "$(BIN)/cinder-cache compare scenarios/two_tiers.yaml --out out"; \
	$(BIN)/cinder-cache compare scenarios/two_tiers.yaml --out out; ended=$$?; \
	kill -0 $$! 2>/dev/null && echo "Engine fast is compiled for later commands; Ctrl-C ends that."; \
	wait; exit $$ended

check: $(READY)  ## the edit loop: lint, types, units and some twenty cases on both engines, in a minute
	$(MAKE) --jobs 2 lint units

units: export NUMBA_DISABLE_JIT = 1
units: $(READY)
	$(BIN)/pytest -q $(UNITS)

test: $(READY) $(OLDEST)/ready  ## what every change needs: lint, types, docs, all tests, scenarios and notebooks; then the oldest Cinder
	$(MAKE) --jobs 3 lab-short branches lint docs compiled
	$(BIN)/pytest --numprocesses auto --dist worksteal
	$(OLDEST)/bin/pytest --numprocesses auto --dist worksteal tests/whole tests/repeated tests/standins \
		tests/cinders/test_own_whole.py -k "$(ON_OLDEST)"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

compiled: $(READY)  ## engine fast, once, and not in every process of the tests
	$(COMPILED)

docs: export NO_MKDOCS_2_WARNING = 1  # the theme's advertisement of its successor
docs: $(READY)  ## the pages, into site/; links and anchors that lead nowhere are errors
	$(BIN)/mkdocs build --strict

map: $(READY)  ## what Cinder's functions that are repeated are in every supported release
	$(BIN)/python -m tests.repeated.trees

prove: export EXAMPLES ?= 200000
prove: export SEED ?= $(shell date +%s)
prove: export HYPOTHESIS_PROFILE = thorough
prove: export NUMBA_BOUNDSCHECK = 1
prove: export EXPLORED_POINTS ?= 200
prove: $(READY)  ## for hours: the engines agree and keep their invariants on new drawn cases; SEED= draws old ones
	@echo "SEED=$(SEED)"
	$(BIN)/pytest tests/properties tests/whole tests/cinders/test_known.py tests/report/test_explore.py \
		--numprocesses auto --dist worksteal

releases: export CASES ?= 100
releases: $(READY) $(OLDEST)/ready  ## in half an hour: --cinder of the oldest and newest release decides as its whole Cinder; CASES=, SEED=
	$(OLDEST)/bin/python -m tests.cinders.own_whole $(CASES) $(SEED)
	$(BIN)/python -m tests.cinders.own_whole $(CASES) $(SEED)

fuzz: $(READY)  ## damaged files for every reader: FUZZ_MINUTES=10 in all, FUZZ_FILES= for each, SEED= draws old ones
	$(BIN)/python -m tests.fuzz

killed: export KILLS ?= 100
killed: $(READY)  ## each command killed 100 times over older results: the old ones stay or the new ones come; KILLS=, SEED=
	$(BIN)/python -m tests.killed $(KILLS) $(SEED)

# Of the measures of a sweep, those that reach what is compiled and do not compare whole tables.
MEASURES := $(addprefix tests/sweep/test_measures.py::,test_blocks_add_up \
	test_creates_without_an_image_count_as_other_errors_alone)

# Both ways to run: the few functions that Numba calls while it compiles are reached by a small compilation.
coverage: $(READY)  ## lines and branches of engine fast that tests reach when it is not compiled, in some minutes
	mkdir -p out && rm -f out/coverage*
	$(BIN)/coverage run -m pytest -q tests/fast/test_jit.py tests/fast/test_keeping.py
	NUMBA_DISABLE_JIT=1 $(BIN)/coverage run -m pytest -q tests/fast/test_jit.py tests/fast/test_reached.py \
		tests/fast/test_interpreted.py tests/test_replay.py $(MEASURES) --deselect \
		tests/fast/test_interpreted.py::test_a_breakpoint_stops_in_it
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

interrupted: $(READY)  ## 50 times Ctrl-C at a random moment of each command: all end with 130, and nothing half-written stays
	$(BIN)/python -m tests.interrupted

branches: $(READY)  ## the branches of Cinder's own code that the cases take, against the list of those that they do not
	$(BIN)/python -W ignore -m tests.whole.branches

bench: $(READY)  ## how fast the engine is, as ratios of one run, and commands, beside what was recorded last; RECORD=1 records them
	$(BIN)/pytest tests/benchmarks --benchmark-enable --benchmark-only -s

lab: $(READY)  ## a small real cloud on the loopback, until Ctrl-C or `make lab-stop`; LAB= is its folder
	$(BIN)/python -m lab up lab/scenario.yaml $(LAB)

lab-stop: $(READY)  ## end that cloud, or what is left of it
	$(BIN)/python -m lab stop $(LAB)

lab-short: $(READY)  ## four minutes: a real cloud decides as the simulator says
	$(BIN)/python -m lab short

lab-deployed: $(READY) $(OPENSTACK)/ready  ## in 50 minutes: what `advise` says is deployed in a real cloud, measured, watched by Prometheus, judged and undone
	rm -rf $(LAB)/deployed
	$(BIN)/python -m lab deployed $(LAB)/deployed

is-it-true: $(READY)  ## the experiment of docs/is-it-true.md, in an hour and a half
	$(BIN)/python -m lab experiment $(LAB)

# By uv if it is there, which takes seconds where pip takes a minute, and by pip if uv cannot.
install = PATH="$(CURDIR)/$(1)/bin:$$PATH"; \
	{ command -v uv >/dev/null && uv pip install --quiet --python $(1)/bin/python $(2); } || \
	$(1)/bin/pip install --quiet --no-compile $(2)
# What runs tests has uv.
with_uv = $(1)/bin/pip install --quiet --constraint constraints.txt uv; $(install)

# What the commands need.
$(RUNTIME): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(call install,$(VENV),--constraint constraints.txt --editable .)
	touch $@

# And what tests, pages and notebooks need.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(call with_uv,$(VENV),--constraint constraints.txt --editable '.[$(EXTRAS)]')
	touch $(RUNTIME) $@

# The oldest Cinder that is supported, in an environment of its own.
$(OLDEST)/ready: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(call with_uv,$(OLDEST),--constraint constraints-oldest.txt --editable '.[test]')
	touch $@

# Rally, which checks the task that `advise` writes.
$(RALLY)/ready: constraints-rally.txt
	$(PYTHON) -m venv $(RALLY)
	$(call with_uv,$(RALLY),--no-deps --requirement constraints-rally.txt)
	touch $@

# The `openstack` command, which the scripts of `advise` call.
$(OPENSTACK)/ready: constraints-openstack.txt
	$(PYTHON) -m venv $(OPENSTACK)
	$(call with_uv,$(OPENSTACK),--no-deps --requirement constraints-openstack.txt)
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST) $(RALLY) $(OPENSTACK) out site

# `make help` lists the targets.
PYTHON ?= python3
SCALE ?= debug
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TEST_READY := $(VENV)/.ready-test
SPARK_READY := $(VENV)/.ready-spark
PEERS := .venv-peers
PEERS_READY := $(PEERS)/.ready
OTHER_PYTHON ?= $(firstword $(shell python3.12 -c 'import sys; print(sys.executable)' 2>/dev/null) \
	$(wildcard $(HOME)/.pyenv/versions/3.12.*/bin/python3.12) python3.12)
OTHER := .venv-3.12
OTHER_READY := $(OTHER)/.ready
# what breaks first on another Python: imports, settings by type hints, archives, processes of their own
OTHER_TESTS := tests/architecture/test_importable.py $(wildcard tests/pipelines/shared/test_*settings.py) \
	$(addprefix tests/pipelines/shared/test_,params.py stage.py layers.py shards.py decode.py sandbox.py)
# as in stages: a thread that spins while it waits for one that other work has displaced decides times by luck
BENCH := OMP_WAIT_POLICY=PASSIVE $(BIN)/python -W ignore -m
SITE_PACKAGES := import sysconfig; print(sysconfig.get_path("purelib"))
.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo test test-spark spark-tools test-processors processor-tools test-python lint \
	format docs chaos bench-data bench-metrics clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: setup ## from a web site to a leaderboard; SCALE=packages for the larger corpora
	@$(BIN)/vignette demo --scale $(SCALE)

test: setup-test ## all tests of the normal run
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

test-spark: spark-tools $(SPARK_READY) ## the data stages on a Spark cluster of this machine; needs Java and Maven
	OMP_NUM_THREADS=1 $(BIN)/pytest -m spark tests/spark

test-python: ## imports, settings, data and processes on Python 3.12, if that is installed beside this one
	@if $(OTHER_PYTHON) -c 'import ensurepip, venv' 2>/dev/null; \
	then $(MAKE) --no-print-directory $(OTHER_READY) && OMP_NUM_THREADS=1 $(OTHER)/bin/python -m pytest $(OTHER_TESTS); \
	else echo "$(OTHER_PYTHON) is not installed: nothing was tried on it"; fi

$(OTHER_READY): setup.py constraints.txt
	@test -x $(OTHER)/bin/python || $(OTHER_PYTHON) -m venv $(OTHER)
	@echo "Installing the pinned dependencies for $(OTHER_PYTHON) (some minutes, about 6 GB) ..."
	@$(OTHER)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable . hypothesis pytest pytest-timeout
	@touch $@

spark-tools:
	@command -v java >/dev/null || { echo "Java is missing: apt-get install openjdk-17-jre-headless"; exit 1; }
	@command -v mvn >/dev/null || { echo "Maven is missing: apt-get install maven"; exit 1; }

test-processors: processor-tools setup-test ## the same bytes on other processors, which QEMU emulates; needs qemu-user
	$(BIN)/pytest -m processors tests/processors

processor-tools:
	@test "$$(uname -m)" = x86_64 || { echo "make test-processors compares x86-64 processors and runs on one, this is $$(uname -m)"; exit 1; }
	@command -v qemu-x86_64 >/dev/null || { echo "qemu-x86_64 is missing: apt-get install qemu-user"; exit 1; }

lint: setup-test ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup-test ## let ruff format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup-test ## write docs/files.md, a line for every module
	$(BIN)/python -m tests.architecture.files_page

chaos: setup-test ## kill crawls, builds and trainings at random moments and compare what comes out
	$(BIN)/pytest -m slow tests/chaos

bench-metrics: setup-test ## speed and memory of metrics against other libraries, of the report and of an idle build
	$(BENCH) tests.benchmarks.metrics
	$(BENCH) tests.benchmarks.operations

bench-data: setup-test $(PEERS_READY) ## speed of filters, duplicates, captioning and CLIP scores against other libraries
	$(BENCH) tests.benchmarks.data
	$(BENCH) tests.benchmarks.captions

# peers in an environment of their own, which takes what it can, torch above all, from ours
$(PEERS_READY): tests/benchmarks/peers.txt $(TEST_READY)
	@test -x $(PEERS)/bin/python || $(BIN)/python -m venv $(PEERS)
	@$(BIN)/python -c '$(SITE_PACKAGES)' > "$$($(PEERS)/bin/python -c '$(SITE_PACKAGES)')/ours.pth"
	@echo "Installing the libraries to compare with ..."
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/benchmarks/peers.txt
	@touch $@

setup: $(READY) ## virtual environment with the pinned dependencies

$(READY): setup.py constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 to 3.13 is missing: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "Python 3.11 to 3.13 is needed, $(PYTHON) is $$($(PYTHON) -V): make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "The venv module is missing: apt-get install python3-venv"; exit 1; }
	@command -v git >/dev/null || { echo "git is missing: apt-get install git"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned dependencies (torch among them: some minutes, about 6 GB) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

setup-test: $(TEST_READY) ## the same with what linters and tests need

$(TEST_READY): $(READY)
	@echo "Installing what linters and tests need ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

$(SPARK_READY): $(TEST_READY)
	@echo "Installing Spark (about 350 MB) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[spark]'
	@touch $@

clean: ## remove what stages made; the environment and DVC's cache stay
	rm -rf data runs dvclive timings reports .vignette

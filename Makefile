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
SITE_PACKAGES := import sysconfig; print(sysconfig.get_path("purelib"))
.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo test test-spark spark-tools test-processors processor-tools lint format docs chaos bench-data bench-metrics clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: setup ## from a web site to a leaderboard; SCALE=packages for the larger corpora
	@$(BIN)/vignette demo --scale $(SCALE)

test: setup-test ## all tests of the normal run
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

test-spark: spark-tools $(SPARK_READY) ## the data stages on a Spark cluster of this machine; needs Java and Maven
	OMP_NUM_THREADS=1 $(BIN)/pytest -m spark tests/spark

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
	$(BIN)/python -W ignore -m tests.benchmarks.metrics
	$(BIN)/python -W ignore -m tests.benchmarks.operations

bench-data: setup-test $(PEERS_READY) ## speed of filters, duplicates, captioning and CLIP scores against other libraries
	$(BIN)/python -W ignore -m tests.benchmarks.data
	$(BIN)/python -W ignore -m tests.benchmarks.captions

# peers in an environment of their own, which takes what it can, torch above all, from ours
$(PEERS_READY): tests/benchmarks/peers.txt $(TEST_READY)
	@test -x $(PEERS)/bin/python || $(BIN)/python -m venv $(PEERS)
	@$(BIN)/python -c '$(SITE_PACKAGES)' > "$$($(PEERS)/bin/python -c '$(SITE_PACKAGES)')/ours.pth"
	@echo "Installing the libraries to compare with ..."
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/benchmarks/peers.txt
	@touch $@

setup: $(READY) ## virtual environment with the pinned dependencies

$(READY): setup.py constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is missing: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V): make PYTHON=python3.11 ..."; exit 1; }
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

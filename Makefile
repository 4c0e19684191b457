# make run    start everything on this machine: database, provider sandbox, web, workers, demo data
# make test   the whole suite, against a PostgreSQL of its own
# make check  formatting, lint, types, import contracts, then the suite
# make bench  what it costs here, as ratios within one run; takes about ten minutes
# make setup  only what the others need first: .venv with the hashed requirements
# make screenshots  take the README's pictures anew, of a demo in a real browser
# make schema write down what all migrations together make
# make lock   resolve the requirements again (needs uv)

PYTHON ?= python3
UV ?= uv
# More than four workers gain little: the tests share one database cluster.
PYTEST_ARGS ?= -n logical --maxprocesses 4 --dist loadgroup

VENV := .venv
BIN := $(VENV)/bin
COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --no-header --no-annotate

.PHONY: run test check bench format lint types imports setup setup-test browser screenshots lock schema clean

run: setup
	@exec $(BIN)/crypto-orders demo $(ARGS)

test: setup-test browser
	$(BIN)/pytest $(PYTEST_ARGS) $(ARGS)

check: lint types imports test

bench: setup-test
	$(BIN)/python -m bench $(ARGS)

format: setup-test
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lint: setup-test
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: setup-test
	$(BIN)/pyright

imports: setup-test
	$(BIN)/lint-imports

setup: $(VENV)/installed-demo

setup-test: $(VENV)/installed-test

$(VENV)/installed-%: requirements/%.lock pyproject.toml tools/install
	@PYTHON="$(PYTHON)" UV="$(UV)" tools/install $(VENV) $<
	@touch $@

# Asked for at each run, as a machine may lose its browser; it costs nothing where there is one.
browser:
	@tools/install-chromium

screenshots: setup-test browser
	$(BIN)/python tools/screenshots.py $(ARGS)

schema: setup-test
	$(BIN)/python -m tests.support.schema

lock:
	$(COMPILE) pyproject.toml requirements/build.in --extra test -o requirements/test.lock $(LOCK_ARGS)
	$(COMPILE) pyproject.toml requirements/build.in --extra embedded -c requirements/test.lock -o requirements/demo.lock $(LOCK_ARGS)
	$(COMPILE) pyproject.toml -c requirements/test.lock -o requirements/runtime.lock $(LOCK_ARGS)

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test coverage lint docs docs-serve bench bench-full bench-check clean

# One virtual environment. An extra is reinstalled only after a change in ext/, setup.py or pyproject.toml.
$(VENV)/%.stamp: $(wildcard ext/*) setup.py pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	touch $@

OLDEST = $(shell awk '$$1 == "apscheduler" { print $$2 }' ci/versions.txt)

# The oldest supported APScheduler, beside the newest one, which pip has chosen.
$(VENV)/apscheduler-oldest.stamp: ci/versions.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target $(VENV)/apscheduler-oldest apscheduler==$(OLDEST)
	touch $@

demo: $(VENV)/demo.stamp
	$(BIN)/python -m jobstore demo $(if $(STORE),--store $(STORE)) $(DEMO)

test: $(VENV)/test.stamp $(VENV)/apscheduler-oldest.stamp
	$(BIN)/python -m pytest -n 3 -m "not slow"
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow
	PYTHONPATH=$(VENV)/apscheduler-oldest $(BIN)/python -c 'from importlib.metadata import version; assert version("apscheduler") == "$(OLDEST)"'
	PYTHONPATH=$(VENV)/apscheduler-oldest $(BIN)/python -m pytest -n 3 tests/test_bulk.py tests/test_bulk_errors.py tests/test_scheduler.py tests/triggers

# The table also goes into the summary of a job of GitHub Actions.
coverage: $(VENV)/coverage.stamp
	$(BIN)/python -m pytest -n 3 -m "not slow" --cov=jobstore
	if [ -n "$$GITHUB_STEP_SUMMARY" ]; then $(BIN)/coverage report --format=markdown >> "$$GITHUB_STEP_SUMMARY"; fi

PROSE = $(shell find *.md ci docs -name '*.md')
SCHEMA = $(BIN)/check-jsonschema --builtin-schema

lint: $(VENV)/lint.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/cython-lint ext
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python ci/prose.py $(PROSE)
	$(SCHEMA) vendor.github-workflows .github/workflows/*.yml
	$(SCHEMA) vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/feature.yml
	$(SCHEMA) vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(SCHEMA) vendor.dependabot .github/dependabot.yml
	$(BIN)/pre-commit validate-config

MKDOCS = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs

docs: $(VENV)/docs.stamp
	$(MKDOCS) build --strict

docs-serve: $(VENV)/docs.stamp
	$(MKDOCS) serve

BENCH = $(BIN)/python -m pytest bench --benchmark-only --benchmark-quiet -q

bench: $(VENV)/bench.stamp
	$(BENCH) -m "not full" --save
	$(BIN)/python bench/charts.py

bench-full: $(VENV)/bench.stamp
	$(BENCH) --save
	$(BIN)/python bench/instructions.py
	$(BIN)/python bench/charts.py

bench-check: $(VENV)/bench.stamp
	$(BENCH) -m "check and not full" --check

clean:
	rm -rf $(VENV) build dist site .coverage* *.egg-info jobstore/*.so

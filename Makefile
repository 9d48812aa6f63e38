# Sets itself up: needs Python >= 3.11 and make. Every step says what it does and can be repeated.

VENV ?= .venv
PORT ?= 8000
SERVE ?= 1
# More arguments for pytest or the benchmark: make test ARGS="-k decay"
ARGS ?=

MAKEFLAGS += --no-print-directory
PY := $(VENV)/bin/python
PYTEST := $(PY) -m pytest -n auto
CANDIDATES = $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python)
say = @printf '==> %s\n'

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-sqlite test-postgres coverage coverage-report lint format bench

help:  ## Show these targets
	@echo 'make <target>, where <target> is one of:'
	@sed -n 's/^\([a-z-]*\):.*##\(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "  %-14s%s\n", $$1, $$2 }'
	@echo 'Variables: PYTHON= (a Python >= 3.11), VENV= (default .venv), PORT=, SERVE=0, ARGS=,'
	@echo '           DATABASE_URL=postgres://user:password@host:5432/name'

demo: $(VENV)/.installed-demo  ## Load real data, fire its decays, report, serve on 127.0.0.1:PORT (SERVE=0: only report)
	$(say) 'Running the example (interrupt with Ctrl-C, repeat at will)'
	@$(PY) example/manage.py demo --port $(PORT) $(if $(filter 0 no,$(SERVE)),--no-serve)

test: test-sqlite test-postgres  ## Run the tests on SQLite, and on PostgreSQL where DATABASE_URL names one

test-sqlite: $(VENV)/.installed-test  ## Run the tests on SQLite
	$(say) 'Testing on SQLite'
	@env -u DATABASE_URL COVERAGE_FILE=.coverage.sqlite $(PYTEST) $(ARGS)

test-postgres: $(VENV)/.installed-test  ## Run the tests on the PostgreSQL of DATABASE_URL
	@case "$$DATABASE_URL" in \
	postgres://*|postgresql://*) \
	    echo '==> Testing on PostgreSQL'; \
	    COVERAGE_FILE=.coverage.postgresql $(PYTEST) -m 'not once' $(ARGS);; \
	*) \
	    echo '==> Left out: the tests on PostgreSQL. To run them, name a server, such as'; \
	    echo '    make $@ DATABASE_URL=postgres://postgres@127.0.0.1:5432/stockflow';; \
	esac

coverage:  ## Run the tests as `make test` does, and report branch coverage
	@rm -f .coverage .coverage.*
	@$(MAKE) test ARGS='--cov --cov-report= $(ARGS)'
	@$(MAKE) coverage-report

coverage-report: $(VENV)/.installed-test  # of test runs with ARGS='--cov --cov-report='
	@$(PY) -m coverage combine && $(PY) -m coverage report --fail-under 95

lint: $(VENV)/.installed-lint  ## Check style, types, the arrows between the rooms, and migrations
	$(say) 'ruff'
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .
	$(say) 'mypy'
	@$(PY) -m mypy
	$(say) 'import-linter'
	@$(VENV)/bin/lint-imports
	$(say) 'makemigrations --check'
	@env -u DATABASE_URL $(PY) -m django makemigrations --check --dry-run --settings tests.settings --pythonpath .
	@env -u DATABASE_URL $(PY) example/manage.py makemigrations --check --dry-run

format: $(VENV)/.installed-lint  ## Mend what can be mended by machine
	@$(PY) -m ruff check --fix . ; $(PY) -m ruff format .

bench: $(VENV)/.installed-test  ## Measure a transition against its peers (ARGS=--small: quickly)
	$(say) 'Measuring'
	@$(PY) -m tests.benchmarks $(ARGS)
	$(say) 'Measuring many at once'
	@$(PY) -m tests.benchmarks.bulk $(ARGS)
	$(say) 'Measuring replays and what they save'
	@$(PY) -m tests.benchmarks.projections $(ARGS)

# A stamp is touched last, so an interrupted step is done again.

$(VENV)/.installed-demo: EXTRAS :=
$(VENV)/.installed-test: EXTRAS := [test]
$(VENV)/.installed-lint: EXTRAS := [lint]

$(VENV)/.installed-%: pyproject.toml constraints.txt $(VENV)/.created
	$(say) 'Installing stockflow$(EXTRAS) and what it needs into $(VENV)'
	@$(PY) -m pip install --disable-pip-version-check --no-input -c constraints.txt -e '.$(EXTRAS)'
	@touch $@

$(VENV)/.created:
	@fit() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }; \
	for python in $(CANDIDATES); do \
	    if fit "$$python"; then break; fi; python=; \
	done; \
	if [ -z "$$python" ]; then \
	    echo 'stockflow needs Python >= 3.11. None of these is one: $(CANDIDATES).' >&2; \
	    echo 'Install it, or say where it is: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11' >&2; \
	    exit 1; \
	fi; \
	if ! "$$python" -c 'import venv, ensurepip' 2>/dev/null; then \
	    echo "$$python cannot make virtual environments: its venv module is a package of its own." >&2; \
	    echo 'Install it (on Debian and Ubuntu: apt install python3-venv) and repeat.' >&2; \
	    exit 1; \
	fi; \
	echo "==> Making $(VENV) with $$("$$python" --version)"; \
	if [ -f '$(VENV)/pyvenv.cfg' ]; then rm -rf '$(VENV)'; fi; \
	"$$python" -m venv '$(VENV)'
	@touch $@

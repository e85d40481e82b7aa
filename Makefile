# make train: the main job.  make test: the tests.  Both set up .venv by themselves.
PYTHON ?= python3
BIN = .venv/bin

train: .venv/run-ready
	$(BIN)/python -m mmlearn train

test: .venv/run-ready
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --durations=10

test-large: .venv/dev-ready .venv/kserve-ready
	$(BIN)/python -m pytest -q -m large --run-large -n 2 --dist loadfile --durations=30

lint: .venv/dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/run-ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11, 3.12 or 3.13 is needed. Fix: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

.venv/dev-ready: .venv/run-ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

# A server that is not ours. Its pins differ, so it has packages of its own; the rest are those of .venv.
SITE = import sysconfig; print(sysconfig.get_path("purelib"))
.venv/kserve-ready: .venv/run-ready
	$(PYTHON) -m venv .venv/kserve
	.venv/kserve/bin/python -m pip install --quiet --disable-pip-version-check "kserve>=0.21,<0.22"
	$(BIN)/python -c '$(SITE)' > "$$(.venv/kserve/bin/python -c '$(SITE)')/run.pth"
	@touch $@

.PHONY: train test test-large lint

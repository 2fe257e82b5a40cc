# `make` lists what there is to do. All of it runs in an environment of its own (.venv), made when it is first needed,
# and again when pyproject.toml has changed; once it is there, no network is needed.

VENV  := $(CURDIR)/.venv
CACHE := $(CURDIR)/.cache
READY := $(VENV)/.ready

# What is installed here comes first; mkfs and mount are where ordinary users don't look.
export PATH := $(VENV)/bin:$(CACHE)/programs/usr/bin:$(PATH):/usr/sbin:/sbin

.PHONY: help run test check lint types format bench model docs rules dashboards pictures image lock sbom clean
.DEFAULT_GOAL := help

help: ## list this
	@awk -F ' ## ' '/^[a-z]+:.* ## / { sub(/:.*/, "", $$1); printf "  make %-10s %s\n", $$1, $$2 }' Makefile

run: $(READY) ## watch the sidecar at work on a small cache until Ctrl-C (DURATION=30: for so many seconds)
	@PYTHONPATH=tests python -m demo $(if $(DURATION),--duration $(DURATION))

test: $(READY) ## run all tests (TESTS=tests/gc: some of them); programs that they need are installed where that may be
	@tools/setup programs $(CACHE)/programs
	@pytest -q --durations=10 $(TESTS)

check: lint types test ## all that has to pass: lint, types and test

lint: $(READY) ## look for mistakes, for other formatting, and for imports that go up
	@ruff check
	@ruff format --check
	@lint-imports --no-logo

types: $(READY) ## check the types
	@mypy

format: $(READY) ## format the code, and mend what can be mended without thinking
	@ruff check --fix --quiet || true
	@ruff format

bench: $(READY) ## measure what it costs, beside its goals and others (FIGURES="scan rest": some of it); takes 40 minutes
	@PYTHONPATH=tests python -m bench $(FIGURES)

model: $(READY) ## explore the model of the eviction protocol further than the tests do; prints a table, takes minutes
	@tools/setup programs $(CACHE)/programs
	@PYTHONPATH=tests python -m model

docs: $(READY) ## make what is made from the code: docs/metrics.md and the config's JSON schema
	@python -m gcsidecar.sidecar.metrics.docs >docs/metrics.md.new && mv docs/metrics.md.new docs/metrics.md
	@python -m gcsidecar.sidecar.config.schema >config/schema.new && mv config/schema.new config/gcsidecar.schema.json

rules: $(READY) ## make the Kubernetes PrometheusRule from the rules for Prometheus
	@python tools/prometheusrule.py >rules.new && mv rules.new deploy/kubernetes/monitoring/prometheusrule.yaml

dashboards: $(READY) ## make the Grafana dashboards (dashboards/*.json) from the code beside them
	@PYTHONPATH=dashboards python -m builder

pictures: $(READY) ## draw docs/dashboard-*.png from a fleet that lives for five minutes; needs root
	@tools/setup programs $(CACHE)/programs
	@PYTHONPATH=tests python -m grafana

image: ## build the container image with docker or podman, and print its size (tools/image: what can be set)
	@tools/image

lock: $(READY) ## lock what the image holds to the newest versions that pyproject.toml allows, with hashes
	@tools/lock

sbom: $(READY) ## write what the image holds besides its base to dist/gcsidecar.cdx.json (CycloneDX)
	@mkdir -p dist
	@python deploy/container/sbom.py deploy/container/requirements.lock pyproject.toml src/gcsidecar/__init__.py \
		>dist/gcsidecar.cdx.json

clean: ## remove all that was made here
	@rm -rf "$(VENV)" "$(CACHE)" build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

$(READY): pyproject.toml tools/setup
	@tools/setup environment $(VENV)
	@touch $@

# The habits of this house. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help demo test torture points lint format docs bench bench-peers soak clean
BIN := .venv/bin

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: ## Set up what is missing and show the main job: volumes that outlive their containers
	@scripts/setup run
	@scripts/demo

test: ## Set up what is missing and run all tests (as root: they build real containers)
	@scripts/setup dev
	@$(BIN)/python -m pytest -n 2 $(TESTS)

torture: ## Kill each command at each passage of each trace point, then random commands and kills for MINUTES=20
	@scripts/setup dev
	@PYCTR_TORTURE=1 PYCTR_MODEL_SECONDS=$$(($(or $(MINUTES),20) * 60)) $(BIN)/python -m pytest -n 2 tests/reliability

points: ## Write down anew which commands pass which trace points
	@scripts/setup dev
	@PYCTR_RECORD=1 $(BIN)/python -m pytest tests/reliability/test_every_point.py -k "not stands"

lint: ## Check style, types and the floors of the house
	@scripts/setup dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: ## Put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: ## Write docs/docker-differences.md anew from the parser
	@scripts/setup dev
	@$(BIN)/python scripts/docs

bench: ## Compare with docker, podman, runc and crun, where they are installed
	@scripts/setup run
	@$(BIN)/python -m benchmarks $(BENCH)

bench-peers: ## Install what bench compares with, from Debian
	@apt-get install -y --no-install-recommends docker.io podman runc crun buildah fio skopeo docker-registry apache2-utils curl iptables mmdebstrap

soak: ## Run 2,000 containers with volumes, eight at a time, and see that nothing grows
	@scripts/setup run
	@benchmarks/soak

clean: ## Remove the virtual environment and caches
	@rm -rf .venv .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

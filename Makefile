# What CI checks, for those who work on the project; `bash run.sh test` runs it in the project's environment.
check: format lint types arrows tests

format:
	ruff format --check .
	snakefmt --check Snakefile workflow
lint:
	ruff check .
types:
	mypy
arrows:
	lint-imports
tests:
	pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

tidy:
	ruff format . && ruff check --fix . && snakefmt Snakefile workflow

EXTRAS = $(addprefix --extra , dev all faiss export imagenet slurm)
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header $(EXTRAS) pyproject.toml -o requirements.lock

.PHONY: check format lint types arrows tests tidy lock

# Everything here needs only make and Python 3.11 or newer; the first command sets up .venv. The
# README has the same commands for machines without make.
PYTHON ?= python3
EDITION ?= student
CHAPTER ?=
ONLY ?=
BIN := .venv/bin

# Kernels and tests share the cores among them: more than one thread each is slower, and sums in
# another order.
OMP_NUM_THREADS ?= 1
export OMP_NUM_THREADS

.PHONY: help book test student margins address lint clean

help:
	@echo "make book                      run the chapters that changed, build the book, say where it is"
	@echo "make book EDITION=instructor   the same, with the solutions"
	@echo "make test                      the package, the notebooks, the grader"
	@echo "make test ONLY=tests/viz       some of them: a file or folder of tests, a notebook"
	@echo "make student CHAPTER=03_vae    solutions/03_vae.ipynb -> book/03_vae.ipynb, both run (no CHAPTER: all)"
	@echo "make margins CHAPTER=03_vae    run it some twelve times, record by how much its claims hold (no CHAPTER: all)"
	@echo "make address REPO=owner/name TAG=v1   write the public address and the tag wherever they stand"
	@echo "make lint                      ruff and mypy"
	@echo "make clean                     remove what was built (not .venv)"

book: .venv/book
	$(BIN)/python tools/build_book.py $(EDITION)

test: .venv/test
	$(BIN)/pytest -n 2 --dist loadfile $(ONLY)

student: .venv/book
	$(BIN)/python tools/make_student.py $(CHAPTER)

margins: .venv/book
	$(BIN)/python tools/margins.py $(CHAPTER)

address: .venv/book
	$(BIN)/python tools/set_address.py $(REPO) $(TAG)

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# One file for each extra that is installed; again whenever the requirements change.
.venv/book .venv/test: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[$(@F)]'
	@touch $@

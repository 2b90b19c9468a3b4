# One command a need; CONTRIBUTING.md says when to use which.
PREFIX ?= /usr/local
PYTHON = .venv/bin/python

.PHONY: setup setup-dev hello test unit lint format bench attacks faults fuzz e2e e2e-matrix vm-test vm-test-all conformance conformance-vm conformance-matrix conformance-matrix-vm man completion verbs-doc install clean

setup:
	@tools/setup

setup-dev:
	@tools/setup --dev

hello: setup
	@bundles/hello/assemble build/bundles/hello
	@root=$$(mktemp -d) && trap 'rm -rf "$$root"' EXIT && \
	  .venv/bin/pyoci --root "$$root" run --bundle build/bundles/hello hello-$$$$ && \
	  left=$$(ls -A "$$root") && { [ -z "$$left" ] || { echo "left in the state root: $$left"; exit 1; }; }

test: setup
	@$(PYTHON) -m pytest -q tests/unit tests/integration tests/attacks tests/faults tests/fuzz

unit: setup
	@$(PYTHON) -m pytest -q tests/unit

lint: setup-dev
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

format: setup-dev
	@.venv/bin/ruff check --fix -q . ; .venv/bin/ruff format .

# What `make test` tries in part, whole: races for longer, each point of failure, fuzzers with more examples.
# PYOCI_RUNTIME=/path attacks another runtime.
attacks: setup
	@PYOCI_ROUNDS=$${PYOCI_ROUNDS:-25} $(PYTHON) -m pytest -q tests/attacks tests/faults/test_races.py

faults: setup
	@PYOCI_FAULTS=all $(PYTHON) -m pytest -q tests/faults

fuzz: setup
	@PYOCI_EXAMPLES=$${PYOCI_EXAMPLES:-5000} PYOCI_FUZZ_SECONDS=$${PYOCI_FUZZ_SECONDS:-120} $(PYTHON) -m pytest -q tests/fuzz \
	  tests/unit/test_schemas.py tests/unit/test_schema_agreement.py tests/unit/test_validate.py

bench: setup
	@$(PYTHON) -m tests.bench --out docs

e2e: setup
	@tools/clients
	@$(PYTHON) -m pytest -q tests/clients

# The same scenarios over both, counted by client; the exit status tells whether they differ.
e2e-matrix: setup
	@tools/clients
	@rm -rf build/e2e
	@for runtime in .venv/bin/pyoci runc; do RUNTIME=$$runtime $(PYTHON) -m pytest -q tests/clients || true; done
	@$(PYTHON) -m tests.clients.tally

# RUNTIME: whom to ask. VALIDATION: a folder of built validation programs, run as well.
conformance: setup
	@$(PYTHON) -m conformance run $(if $(RUNTIME),--runtime $(RUNTIME)) $(if $(VALIDATION),--validation $(VALIDATION))

# The exit status is the matrix's own: where others fail is what it shows.
conformance-matrix: setup
	@for runtime in .venv/bin/pyoci $$(command -v runc) $$(command -v crun); do \
	  $(PYTHON) -m conformance run --runtime $$runtime $(if $(VALIDATION),--validation $(VALIDATION)) || true; done
	@$(PYTHON) -m conformance matrix --out docs $$(for name in pyoci runc crun; do \
	  [ ! -e build/conformance/$$name.json ] || echo build/conformance/$$name.json; done)

vm-test: setup
	@tools/machine
	@tests/vm/lane $(TESTS)

# The specification's requirements on cgroup v2: runc and crun are in the machine as well (RUNTIME=/usr/sbin/runc).
conformance-vm: setup
	@tools/machine
	@PYOCI_VM_TIMEOUT=4000 tests/vm/lane -- .venv/bin/python -m conformance run $(if $(RUNTIME),--runtime $(RUNTIME))

# The matrix on cgroup v2: docs/conformance-v2.*; about half an hour, emulated.
conformance-matrix-vm: setup
	@tools/machine
	@rm -rf build/conformance-v2
	@PYOCI_VM_TIMEOUT=6000 PYOCI_VM_BRING=$(CURDIR)/build/conformance-v2 tests/vm/lane -- \
	  bash tests/vm/conformance .venv/bin/pyoci /usr/sbin/runc /usr/bin/crun
	@$(PYTHON) -m conformance matrix --out docs --name conformance-v2 $$(for name in pyoci runc crun; do \
	  [ ! -e build/conformance-v2/$$name.json ] || echo build/conformance-v2/$$name.json; done)

# Every test with real containers, with both cgroup drivers: more than an hour.
vm-test-all: setup
	@tools/machine
	@PYOCI_VM_BOTH=all PYOCI_VM_TIMEOUT=9000 tests/vm/lane

# Man pages, completions and the list of verbs come from the table of verbs and flags.
man: setup
	@$(PYTHON) -m tools.generate man build/share && echo "build/share/man/man8"

completion: setup
	@$(PYTHON) -m tools.generate completion build/share && echo "build/share"

verbs-doc: setup
	@$(PYTHON) -m tools.generate verbs docs/verbs.md

install: setup
	@tools/install "$(DESTDIR)" "$(PREFIX)"

clean:
	rm -rf build .venv *.egg-info pyoci/native/*.so pyoci/native/*.o pyoci/native/_runtime.c pyoci/native/_seccomp.c pyoci/native/_bus.c
	find . -name __pycache__ -prune -exec rm -rf {} +

# stmount: what a person does with it. Each target installs what it needs first.

SWIFT ?= swift
PREFIX ?= /usr/local
BUILD = .build/release
# Root needs no sudo, and a container often has none.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: all demo test lint format deps test-deps install uninstall clean

all: deps
	$(SWIFT) build -c release --product stmount

## demo: build a release, mount a small model, look at it, unmount
demo: all
	@docs/demo.sh $(BUILD)/stmount

## test: build and run every test, real mounts included (as root, since some tests need other users)
test: deps test-deps
	$(SUDO) $(SWIFT) test --disable-xctest

## lint: the formatting rules, strictly
lint:
	$(SWIFT) format lint --strict --recursive Package.swift Sources Tests Benchmarks

format:
	$(SWIFT) format --in-place --recursive Package.swift Sources Tests Benchmarks

# What is needed beside a Swift toolchain, on Debian and Ubuntu.
PACKAGES = libfuse3-dev fuse3 pkg-config jq util-linux
deps:
	@if ! pkg-config --exists fuse3 2>/dev/null || ! command -v fusermount3 jq findmnt >/dev/null; then \
	  echo "Installing $(PACKAGES)"; \
	  $(SUDO) apt-get update -qq && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(PACKAGES) >/dev/null; \
	fi

# What the tests run beside that: the tools that views are for, and Python with what views are compared with.
TEST_PACKAGES = attr gcc gfortran gnuplot-nox octave python3-venv r-base-core sox xxd
TEST_TOOLS = cc getfattr gfortran gnuplot octave-cli python3 Rscript sox soxi xxd
PYTHON = .build/python
test-deps:
	@missing=; \
	for tool in $(TEST_TOOLS); do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing venv"; \
	if [ -n "$$missing" ]; then \
	  echo "Installing $(TEST_PACKAGES), for$$missing"; \
	  $(SUDO) apt-get update -qq && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends $(TEST_PACKAGES) >/dev/null; \
	fi
	@$(PYTHON)/bin/python3 -c 'import ml_dtypes, numpy, safetensors' 2>/dev/null || { \
	  echo "Installing NumPy, ml_dtypes and safetensors into $(PYTHON)"; \
	  python3 -m venv $(PYTHON) && \
	  $(PYTHON)/bin/pip install -q --disable-pip-version-check -r Tests/Reference/requirements.txt; \
	}

install: all
	install -D -m 755 $(BUILD)/stmount $(DESTDIR)$(PREFIX)/bin/stmount

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/stmount

clean:
	$(SWIFT) package clean

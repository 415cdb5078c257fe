# What a person does with stmount. `make` alone lists the targets; each installs what it needs first.

SWIFT ?= swift
PREFIX ?= /usr/local
# Not every shell expands the tilde of PREFIX=~/.local.
override PREFIX := $(patsubst ~/%,$(HOME)/%,$(PREFIX))
BUILD = .build/release
STAGE = .build/stage
DIST = dist
VERSION := $(shell sed -n 's/.*stmountVersion = "\(.*\)"/\1/p' Sources/Commands/Shared/Version.swift)
# The date of every file in packages, so that a commit always gives the same bytes.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)

# Root needs no sudo, and a container often has none. What sudo starts should find the same programs as before it. It leaves no
# compiled Python in the clone, where a user could not delete root's directory.
export PYTHONDONTWRITEBYTECODE = 1
IS_ROOT := $(filter 0,$(shell id -u))
SUDO := $(if $(IS_ROOT),,sudo env PYTHONDONTWRITEBYTECODE=1)
# Debian gives an ordinary user no /usr/sbin, which has mkfs.ext4 and mount helpers.
AS_ROOT := $(if $(IS_ROOT),,$(SUDO) "PATH=$(PATH):/usr/sbin:/sbin")
# `sudo make` in a user's clone: sudo hides their Swift, and root's files in .build would be in the user's way.
IN_ANOTHERS := $(and $(IS_ROOT),$(filter-out 0,$(filter $(SUDO_UID),$(shell stat -c %u .))))

.DEFAULT_GOAL := help
.PHONY: help all build toolchain demo check test load fuzz differential differential-torch test-asan test-tsan test-valgrind test-torch lint \
  format deps test-deps install uninstall deb packages check-install check-packages clean

help:
	@echo 'usage: make TARGET [VARIABLE=VALUE]'; echo
	@sed -n 's/^## \([^:]*\): \(.*\)/\1\t\2/p' Makefile | while IFS="$$(printf '\t')" read -r name text; do \
	  printf '  %-20s %s\n' "$$name" "$$text"; done

# The Swift runtime, libfuse, libstdc++ and libgcc are in the executable, so that it needs libc and libm and nothing else.
# STATIC_FUSE=no links the system's libfuse3, libstdc++ and libgcc_s.
STATIC_FUSE ?= yes
ifneq ($(STATIC_FUSE),yes)
export STMOUNT_DYNAMIC_FUSE = 1
endif

# One executable, called by several names.
COMMANDS = stmount stls stcat stdiff stpack stunpack
LINKS = $(filter-out stmount,$(COMMANDS))

# What a release is compiled and linked with, beside Package.swift. Paths in it are relative to the clone, so that every clone gives
# the same bytes, and symbols do not name the compiler's cache, whose names depend on the clone's. Each function has its own section,
# so that the linker leaves out those that nothing calls. Not stripped: packaging/stage takes the symbols apart.
RELEASE = -c release --static-swift-stdlib --disable-local-rpath \
  -Xswiftc -Xfrontend -Xswiftc -function-sections -Xswiftc -Xfrontend -Xswiftc -no-clang-module-breadcrumbs \
  -Xswiftc -file-prefix-map -Xswiftc $(CURDIR)=. -Xcc -ffile-prefix-map=$(CURDIR)=. -Xlinker --build-id=0x$(BUILD_ID)
# The commit, the machine and the libraries, since the linker would hash what is not in packages.
BUILD_ID := $(shell { git rev-parse HEAD 2>/dev/null || echo $(VERSION); uname -m; echo $(STATIC_FUSE); } | sha1sum | cut -c 1-40)
# Package.swift has the linker look here first; there is no shared libstdc++ here.
STATIC = .build/static

## build: build a release, in .build/stage
all build: deps
	@mkdir -p $(STATIC)
	@archive=$$(PATH="$$(dirname "$$(command -v $(SWIFT))"):$$PATH" clang -print-file-name=libstdc++.a) && \
	  ln -sf "$$archive" $(STATIC)/libstdc++.a
	$(SWIFT) build $(RELEASE) --product stmount
	@for name in $(LINKS); do ln -sf stmount $(BUILD)/$$name || exit; done
	@packaging/stage $(BUILD) $(STAGE) $(VERSION)

## demo: build a release, mount a small model, look at it, unmount
demo: build
	@docs/demo.sh $(BUILD)/stmount

# These mount, or give files away.
NEED_ROOT = MountTests WorkerTests OwnershipTests/firstOwner
## check: the tests that need neither root nor FUSE; without libfuse3-dev, those of what does not mount
check: toolchain
	@if pkg-config --exists fuse3; then $(SWIFT) test --disable-xctest $(NEED_ROOT:%=--skip %); else \
	  echo "There is no libfuse3-dev: testing what does not mount."; \
	  STMOUNT_WITHOUT_FUSE=1 $(SWIFT) test --disable-xctest --scratch-path .build-without-fuse; fi

## test: every test, real mounts included, as root: some need other users
test: deps test-deps
ifneq ($(IS_ROOT),)
	$(SWIFT) test --disable-xctest
else
	$(SWIFT) build --build-tests
	$(AS_ROOT) .build/debug/stmountPackageTests.xctest --testing-library swift-testing
endif

## load: 64 readers of two mounts of a large model, for MINUTES=10, every byte verified; prints what the daemons held
MINUTES ?= 10
load: build
	$(SUDO) Tests/Load/run $(BUILD)/stmount $(MINUTES)

## fuzz: each reader of hostile bytes under libFuzzer, for FUZZ_SECONDS=20
FUZZ_SECONDS ?= 20
fuzz: deps
	Tests/Fuzz/run $(FUZZ_SECONDS)

## differential: this reader against the reference package, on MUTANTS=100000 changed files from chance's SEED=1
MUTANTS ?= 100000
SEED ?= 1
differential: deps test-deps
	$(SWIFT) build -c release --product verdicts
	.build/python/bin/python3 Tests/Reference/differential.py $(BUILD)/verdicts $(MUTANTS) $(SEED)

## test-asan, test-tsan: the tests under AddressSanitizer and ThreadSanitizer, daemons included
test-asan test-tsan: test-%: deps test-deps
	$(AS_ROOT) Tests/Sanitizers/run $*

## test-valgrind: a daemon under valgrind's memcheck, while the oracle asks it everything
test-valgrind: deps test-deps
	@packaging/need valgrind valgrind
	$(SWIFT) build --product stmount
	$(SUDO) Tests/Sanitizers/valgrind .build/debug/stmount

## test-torch: what PyTorch itself saves, mounted and packed, OBJECTS=300 random ones in both forms; CHECKPOINTS=10 distributed ones
OBJECTS ?= 300
CHECKPOINTS ?= 10
TORCH = .build/torch
define INSTALL_TORCH
$(TORCH)/bin/python3 -c 'import numpy, safetensors, torch, transformers' 2>/dev/null || { \
  echo "Installing PyTorch into $(TORCH)"; python3 -m venv $(TORCH) && \
  $(TORCH)/bin/pip install -q --disable-pip-version-check -r Tests/Reference/torch.txt; \
}
endef
test-torch: build
	@$(INSTALL_TORCH)
	$(SUDO) $(TORCH)/bin/python3 Tests/Reference/torch_saves.py $(BUILD)/stmount $(BUILD)/stpack $(OBJECTS) $(SEED)
	$(SUDO) $(TORCH)/bin/python3 Tests/Reference/torch_kinds.py $(BUILD)/stmount
	$(SUDO) $(TORCH)/bin/python3 Tests/Reference/distributed_saves.py $(BUILD)/stmount $(BUILD)/stpack $(CHECKPOINTS) $(SEED)
	$(SUDO) $(TORCH)/bin/python3 Tests/Reference/transformers_loads.py $(BUILD)/stmount

## differential-torch: this reader against torch.load, on FILES=20000 changed files from chance's SEED=1
FILES ?= 20000
differential-torch: deps
	$(SWIFT) build -c release --product verdicts
	@$(INSTALL_TORCH)
	$(TORCH)/bin/python3 Tests/Reference/torch_differential.py $(BUILD)/verdicts $(FILES) $(SEED)

## lint: the formatting rules, strictly
lint:
	$(SWIFT) format lint --strict --recursive Package.swift Sources Tests Benchmarks

format:
	$(SWIFT) format --in-place --recursive Package.swift Sources Tests Benchmarks

toolchain:
	@if [ -n "$(IN_ANOTHERS)" ]; then echo "make: run this without sudo: make calls sudo itself where it needs root" >&2; exit 1; fi
	@command -v $(SWIFT) >/dev/null || { echo "make: there is no $(SWIFT) in PATH: install Swift 6.2 or later from https://www.swift.org/install/linux/" >&2; exit 1; }

# What is needed beside a Swift toolchain, on Debian and Ubuntu.
deps: toolchain
	@packaging/need "fusermount3 pkg-config objcopy findmnt /usr/include/fuse3/fuse_lowlevel.h" \
	  "fuse3 libfuse3-dev pkg-config binutils util-linux"

# What the tests run beside that: the tools that views are for, Python with what views are compared with, and the system's
# own programs that mounts have to get on with.
TEST_TOOLS = busybox cc cpio getfattr gfortran gnuplot jq octave-cli python3 Rscript sox soxi xxd \
  automount bindfs debootstrap fish fuser ganesha.nfsd lsof man mandoc nfs-cat nginx rclone rsync s3fs socat sshfs \
  rpmbuild systemd-analyze zsh
TEST_PACKAGES = attr busybox-static cpio gcc gfortran gnuplot-nox jq octave python3-venv r-base-core sox xxd \
  autofs bindfs debian-archive-keyring debootstrap fish libnfs-utils lsof man-db mandoc nfs-ganesha-vfs nginx-light \
  openssh-sftp-server psmisc rclone rpm rsync s3fs socat sshfs systemd zsh
PYTHON = .build/python
test-deps: toolchain
	@packaging/need "$(TEST_TOOLS) /usr/lib/openssh/sftp-server /usr/lib/python3*/ensurepip" "$(TEST_PACKAGES)"
	@$(PYTHON)/bin/python3 -c 'import auditwheel, check_jsonschema, huggingface_hub, ml_dtypes, model_signing, moto.server, numpy, safetensors, yaml' 2>/dev/null || { \
	  echo "Installing the Python packages of Tests/Reference/requirements.txt into $(PYTHON)"; \
	  python3 -m venv $(PYTHON) && \
	  $(PYTHON)/bin/pip install -q --disable-pip-version-check -r Tests/Reference/requirements.txt; \
	}
	@$(PYTHON)/bin/python3 Tests/Reference/pytorch_files.py --list >/dev/null 2>&1 || { \
	  echo "Installing packages that hold files of PyTorch into $(PYTHON)"; \
	  $(PYTHON)/bin/pip install -q --disable-pip-version-check --no-deps -r Tests/Reference/models.txt; \
	}

# mount(8) looks for helpers here and nowhere else, whatever PREFIX is.
HELPERDIR ?= /usr/sbin
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
# Only where it cannot be written otherwise does root install.
INSTALL_AS = $(if $(DESTDIR),,$(if $(filter $(HOME)/%,$(PREFIX)),,$(SUDO)))
INSTALL_SCRIPT = $(INSTALL_AS) env HOME="$(HOME)" PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" HELPERDIR="$(HELPERDIR)" ZSHDIR="$(ZSHDIR)" \
  $(STAGE)/install.sh

## install: install commands, mount helper, manual, services and completions below PREFIX=/usr/local (or ~/.local)
install: $(if $(IN_ANOTHERS),,build)
	@[ -x $(STAGE)/install.sh ] || { echo "make: nothing is built yet: run 'make build' first, without sudo" >&2; exit 1; }
	@$(INSTALL_SCRIPT)

## uninstall: take all of that away again
uninstall:
	@[ -x $(STAGE)/install.sh ] || { echo "make: run 'make build' first: it lists what was installed" >&2; exit 1; }
	@$(INSTALL_SCRIPT) --uninstall

## deb: build a Debian package, in dist; it needs no Swift where it is installed
deb: build
	@packaging/build $(STAGE) $(DIST) $(VERSION) deb

## packages: build all packages, in dist: .deb, .rpm, .tar.gz, a wheel for pip, debugging symbols, checksums
packages: build
	@packaging/need "rpmbuild dpkg-deb python3 gzip" "rpm dpkg python3 gzip"
	@rm -rf $(DIST)
	@packaging/build $(STAGE) $(DIST) $(VERSION) deb rpm tar wheel symbols

## check-install: look into the packages, and use the .deb, the .tar.gz and the wheel on this machine's own system, in an overlay
check-install: packages
	@packaging/need "bash busybox fish zsh /lib/ld-musl-*.so.1" "bash busybox-static fish musl zsh"
	@$(PYTHON)/bin/python3 -c 'import auditwheel' 2>/dev/null || $(MAKE) test-deps
	$(AS_ROOT) packaging/check $(DIST) $(VERSION)

## check-packages: use every package in clean Debians and Ubuntus, and the services under a systemd; downloads 1 GB
check-packages: check-install
	$(AS_ROOT) packaging/check-roots $(DIST)

## clean: remove what was built
clean:
	$(SWIFT) package clean
	rm -rf $(STAGE) $(DIST)

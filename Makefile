# stmount: what a person does with it. Each target installs what it needs first.

SWIFT ?= swift
PREFIX ?= /usr/local
BUILD = .build/release
# Root needs no sudo, and a container often has none.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: all demo check test load fuzz differential differential-torch test-asan test-tsan test-valgrind test-torch lint format deps test-deps \
  install uninstall deb check-install clean

# The Swift runtime and libfuse are in the executable, so that it runs where there are neither. STATIC_FUSE=no leaves libfuse out.
STATIC_FUSE ?= yes
ifneq ($(STATIC_FUSE),yes)
export STMOUNT_DYNAMIC_FUSE = 1
endif

# One executable, called by several names.
COMMANDS = stmount stls stcat stdiff stpack stunpack
LINKS = $(filter-out stmount,$(COMMANDS))

all: deps
	$(SWIFT) build -c release --static-swift-stdlib --disable-local-rpath -Xlinker -s --product stmount
	@for name in $(LINKS); do ln -sf stmount $(BUILD)/$$name || exit; done

## demo: build a release, mount a small model, look at it, unmount
demo: all
	@docs/demo.sh $(BUILD)/stmount

## check: the unit tests, which need neither root nor FUSE
check: deps
	$(SWIFT) test --disable-xctest --skip MountTests

## test: build and run every test, real mounts included (as root, since some tests need other users)
test: deps test-deps
	$(SUDO) $(SWIFT) test --disable-xctest

## load: 64 readers of two mounts of a large model, for MINUTES=10, every byte verified; prints what the daemons held
MINUTES ?= 10
load: all
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
	$(SUDO) Tests/Sanitizers/run $*

## test-valgrind: a daemon under valgrind's memcheck, while the oracle asks it everything
test-valgrind: deps test-deps
	@$(call INSTALL,valgrind,valgrind)
	$(SWIFT) build --product stmount
	$(SUDO) Tests/Sanitizers/valgrind .build/debug/stmount

## test-torch: what PyTorch itself saves, mounted and packed, OBJECTS=300 random ones in both forms; what transformers loads
OBJECTS ?= 300
TORCH = .build/torch
define INSTALL_TORCH
$(TORCH)/bin/python3 -c 'import numpy, safetensors, torch, transformers' 2>/dev/null || { \
  echo "Installing PyTorch into $(TORCH)"; python3 -m venv $(TORCH) && \
  $(TORCH)/bin/pip install -q --disable-pip-version-check -r Tests/Reference/torch.txt; \
}
endef
test-torch: all
	@$(INSTALL_TORCH)
	$(SUDO) $(TORCH)/bin/python3 Tests/Reference/torch_saves.py $(BUILD)/stmount $(BUILD)/stpack $(OBJECTS) $(SEED)
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

# What is needed beside a Swift toolchain, on Debian and Ubuntu.
PACKAGES = libfuse3-dev fuse3 pkg-config jq util-linux dpkg-dev
TOOLS = fusermount3 jq findmnt dpkg-shlibdeps pkg-config
deps:
	@$(call INSTALL,$(TOOLS),$(PACKAGES))
	@pkg-config --exists fuse3 || { $(call APT,$(PACKAGES)); }

# What the tests run beside that: the tools that views are for, Python with what views are compared with, and the system's
# own programs that mounts have to get on with.
TEST_TOOLS = cc getfattr gfortran gnuplot octave-cli python3 Rscript sox soxi xxd \
  automount bindfs debootstrap fish fuser ganesha.nfsd lsof man mandoc nfs-cat nginx rclone rsync socat sshfs \
  systemd-analyze zsh
TEST_PACKAGES = attr gcc gfortran gnuplot-nox octave python3-venv r-base-core sox xxd \
  autofs bindfs debian-archive-keyring debootstrap fish libnfs-utils lsof man-db mandoc nfs-ganesha-vfs nginx-light \
  openssh-sftp-server psmisc rclone rsync socat sshfs systemd zsh
PYTHON = .build/python
test-deps:
	@$(call INSTALL,$(TEST_TOOLS) /usr/lib/openssh/sftp-server,$(TEST_PACKAGES))
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { $(call APT,python3-venv); }
	@$(PYTHON)/bin/python3 -c 'import huggingface_hub, ml_dtypes, model_signing, numpy, safetensors' 2>/dev/null || { \
	  echo "Installing NumPy, ml_dtypes, safetensors, huggingface_hub and model_signing into $(PYTHON)"; \
	  python3 -m venv $(PYTHON) && \
	  $(PYTHON)/bin/pip install -q --disable-pip-version-check -r Tests/Reference/requirements.txt; \
	}
	@$(PYTHON)/bin/python3 Tests/Reference/pytorch_files.py --list >/dev/null 2>&1 || { \
	  echo "Installing packages that hold files of PyTorch into $(PYTHON)"; \
	  $(PYTHON)/bin/pip install -q --disable-pip-version-check --no-deps -r Tests/Reference/models.txt; \
	}

APT = echo "Installing $(1)"; $(SUDO) apt-get update -qq && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null
# $(call INSTALL,PROGRAMS,PACKAGES): installs all of the packages if one of the programs is missing.
INSTALL = for tool in $(1); do PATH="$$PATH:/usr/sbin:/sbin" command -v $$tool >/dev/null && continue; \
	  echo "There is no $$tool."; { $(call APT,$(2)); } || exit; break; done

# mount(8) looks for helpers here and nowhere else, whatever PREFIX is.
HELPERDIR ?= /usr/sbin
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
ROOT = $(DESTDIR)$(PREFIX)
UNITS = system/stmount@.service user/stmount@.service
EXAMPLES = instance.conf mnt-llama.mount mnt-llama.automount

## install: put commands, mount helper, manual, services and completions into $(DESTDIR)$(PREFIX)
install: all
	install -d $(ROOT)/bin $(ROOT)/share/man/man1 $(ROOT)/share/man/man8 $(DESTDIR)$(HELPERDIR) $(DESTDIR)$(ZSHDIR) \
	  $(ROOT)/share/bash-completion/completions $(ROOT)/share/fish/vendor_completions.d \
	  $(ROOT)/lib/systemd/system $(ROOT)/lib/systemd/user $(ROOT)/share/doc/stmount/examples
	install -m 755 $(BUILD)/stmount $(ROOT)/bin
	for name in $(LINKS); do ln -sf stmount $(ROOT)/bin/$$name || exit; done
	for type in stmount fuse.stmount; do \
	  ln -sf $(PREFIX)/bin/stmount $(DESTDIR)$(HELPERDIR)/mount.$$type || exit; done
	install -m 644 $(COMMANDS:%=docs/man/%.1) $(ROOT)/share/man/man1
	install -m 644 docs/man/mount.stmount.8 $(ROOT)/share/man/man8
	for unit in $(UNITS); do \
	  sed 's|@PREFIX@|$(PREFIX)|g' systemd/$$unit >$(ROOT)/lib/systemd/$$unit && \
	  chmod 644 $(ROOT)/lib/systemd/$$unit || exit; done
	for command in $(COMMANDS); do \
	  $(BUILD)/$$command --generate-completion-script bash \
	    >$(ROOT)/share/bash-completion/completions/$$command && \
	  $(BUILD)/$$command --generate-completion-script zsh >$(DESTDIR)$(ZSHDIR)/_$$command && \
	  $(BUILD)/$$command --generate-completion-script fish \
	    >$(ROOT)/share/fish/vendor_completions.d/$$command.fish || exit; done
	install -m 644 README.md CHANGELOG.md docs/SEMANTICS.md docs/VIEWS.md docs/RECIPES.md \
	  docs/MIGRATING.md docs/SECURITY.md docs/TROUBLESHOOTING.md $(ROOT)/share/doc/stmount
	install -m 644 LICENSE $(ROOT)/share/doc/stmount/copyright
	install -m 644 $(EXAMPLES:%=systemd/examples/%) $(ROOT)/share/doc/stmount/examples

## uninstall: take all of that away again
uninstall:
	rm -f $(COMMANDS:%=$(ROOT)/bin/%) $(UNITS:%=$(ROOT)/lib/systemd/%) \
	  $(DESTDIR)$(HELPERDIR)/mount.stmount $(DESTDIR)$(HELPERDIR)/mount.fuse.stmount \
	  $(COMMANDS:%=$(ROOT)/share/man/man1/%.1) $(ROOT)/share/man/man8/mount.stmount.8
	for command in $(COMMANDS); do \
	  rm -f $(ROOT)/share/bash-completion/completions/$$command $(DESTDIR)$(ZSHDIR)/_$$command \
	    $(ROOT)/share/fish/vendor_completions.d/$$command.fish; done
	rm -rf $(ROOT)/share/doc/stmount

## deb: build a Debian package that needs no Swift where it is installed
VERSION = $(shell sed -n 's/.*stmountVersion = "\(.*\)"/\1/p' Sources/Commands/Shared/Version.swift)
DEB = $(CURDIR)/.build/deb
deb:
	rm -rf $(DEB)
	$(MAKE) install PREFIX=/usr DESTDIR=$(DEB)/root ZSHDIR=/usr/share/zsh/vendor-completions
	@packaging/build-deb $(DEB) $(VERSION)

## check-install: install, uninstall and the Debian package, in directories of their own and in a clean Debian
check-install: deb
	$(SUDO) packaging/check $(DEB)/stmount_$(VERSION)_*.deb

clean:
	$(SWIFT) package clean

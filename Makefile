# turbocam: make run, test, build, install, clean, format, lint, install-check, gpu-check, spark, spark-eval

PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
# Arguments for the program: make run ARGS='--prompt "oil painting"'
ARGS ?=

BUILD_PACKAGES := pkg-config libdnnl-dev libturbojpeg0-dev libv4l-dev libavformat-dev libavcodec-dev \
  libavutil-dev libswscale-dev libmicrohttpd-dev
TEST_PACKAGES := ffmpeg g++ $(shell cat Tests/Devices/packages Tests/Servers/packages)
# On a GPU PyTorch compiles the networks, for which it needs a C compiler and Python's headers.
COMPILER_PACKAGES = $(if $(shell sh -c 'command -v nvidia-smi'),gcc python3-dev)

BUILD := $(SWIFT) build -c release --product turbocam
# What is installed carries Swift's run-time libraries in itself, so that it needs no Swift.
STATIC := $(SWIFT) build -c release --product turbocam --static-swift-stdlib --scratch-path .build-static
BINARY := .build-static/release/turbocam
INSTALLED = $(shell cd Fixtures && find models clips sizes -type f -not -name ".*")
LINKS = $(shell cd Fixtures && find models clips sizes -type l)
SHARE := $(DESTDIR)$(PREFIX)/share/turbocam
UNITS := $(DESTDIR)$(PREFIX)/lib/systemd/system

.PHONY: all run build static kernels test install install-check uninstall clean format lint gpu-check packages \
  test-packages spark spark-eval
all: build

run: build
	@"$$($(BUILD) --show-bin-path)/turbocam" run $(ARGS)

build: packages
	@$(BUILD)

test: test-packages
	@Tests/run

static: packages
	@$(STATIC)

# CUDA kernels for machines without NVRTC; this one needs it. 'make install' takes them along.
kernels: static
	@rm -rf .build-static/kernels
	@$(BINARY) kernels --output .build-static/kernels

# What Tests/GPU/check takes to a machine with a GPU, into .build-gpu.
gpu-check: packages
	@Tests/GPU/pack

# Does not build what is there, so that 'make static && sudo make install' needs no Swift for root.
install:
	@test -x $(BINARY) || $(MAKE) static
	install -D -s -m 755 $(BINARY) "$(DESTDIR)$(PREFIX)/bin/turbocam"
	@set -e; for file in $(INSTALLED); do install -D -m 644 Fixtures/$$file "$(SHARE)/$$file"; done
	@set -e; for link in $(LINKS); do cp -P Fixtures/$$link "$(SHARE)/$$link"; done
	@set -e; for file in $(wildcard .build-static/kernels/*.ptx); do install -D -m 644 $$file "$(SHARE)/kernels/$${file##*/}"; done
	@set -e; for unit in systemd/*.service; do install -d "$(UNITS)"; \
	  sed 's|@PREFIX@|$(PREFIX)|g' $$unit > "$(UNITS)/$${unit#systemd/}"; done
	@echo "Models and clip in $(SHARE), systemd units in $(UNITS)"

uninstall:
	rm -f "$(DESTDIR)$(PREFIX)/bin/turbocam" $(patsubst systemd/%,"$(UNITS)/%",$(wildcard systemd/*.service))
	rm -rf "$(SHARE)"

# Installs into a folder of its own, tries what is there, and uninstalls it.
install-check: static
	@Tests/Install/check

clean:
	rm -rf .build .build-gpu .build-gpu-state .build-static .build-tsan Tests/output

# Trains the embedded model from nothing: make spark ARGS="--minutes 330". Hours on a CPU; goes on where it was stopped.
spark: .venv/ready
	@.ci/packages $(COMPILER_PACKAGES)
	.venv/bin/python Training/spark.py $(ARGS)

# The figures of the model card, of the last training run.
spark-eval: .venv/ready
	.venv/bin/python Training/figures.py Training/runs/spark $(or $(STUDENT),Fixtures/models/spark) $(ARGS)

.venv/ready: Training/requirements.txt
	@.ci/packages python3-venv
	python3 -m venv .venv
	.venv/bin/pip install --quiet -r Training/requirements.txt
	@touch $@

format:
	$(SWIFT) format -i -r -p Package.swift Sources Tests

lint:
	$(SWIFT) format lint --strict -r -p Package.swift Sources Tests
	.ci/imports

# Debian packages: asks for nothing, installs nothing and says nothing where all are there.
packages: ; @.ci/packages $(BUILD_PACKAGES) && .ci/swift
test-packages: ; @.ci/packages $(BUILD_PACKAGES) $(TEST_PACKAGES) && .ci/swift

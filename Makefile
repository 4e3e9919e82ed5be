# turbocam: make run, test, build, install, clean, format, lint

PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
# Arguments for the program: make run ARGS='--prompt "oil painting"'
ARGS ?=

BUILD_PACKAGES := pkg-config libdnnl-dev libturbojpeg0-dev libv4l-dev libavformat-dev libavcodec-dev \
  libavutil-dev libswscale-dev libmicrohttpd-dev
TEST_PACKAGES := ffmpeg $(shell cat Tests/Devices/packages)

# The Swift run-time libraries go into the program, so that it needs no Swift where it is installed.
BUILD := $(SWIFT) build -c release --static-swift-stdlib --product turbocam
BINARY := .build/release/turbocam
INSTALLED = $(shell cd Fixtures && find models clips -type f -not -name '.*')
SHARE := $(DESTDIR)$(PREFIX)/share/turbocam
UNITS := $(DESTDIR)$(PREFIX)/lib/systemd/system

.PHONY: all run build test install uninstall clean format lint packages test-packages
all: build

run: build
	@"$$($(BUILD) --show-bin-path)/turbocam" run $(ARGS)

build: packages
	@$(BUILD)

test: test-packages
	@Tests/run

# Builds only what is not there yet, so that 'sudo make install' after 'make' needs no Swift for root. What the
# tests built needs Swift's libraries and is not installed.
install:
	@ldd $(BINARY) 2>/dev/null | grep -q libdnnl && ! ldd $(BINARY) | grep -q libswift || $(MAKE) build
	install -D -m 755 $(BINARY) "$(DESTDIR)$(PREFIX)/bin/turbocam"
	@for file in $(INSTALLED); do install -D -m 644 Fixtures/$$file "$(SHARE)/$$file"; done
	@for unit in systemd/*.service; do install -d "$(UNITS)"; \
	  sed 's|/usr/local|$(PREFIX)|g' $$unit > "$(UNITS)/$${unit#systemd/}"; done
	@echo "Models and clip in $(SHARE), systemd units in $(UNITS)"

uninstall:
	rm -f "$(DESTDIR)$(PREFIX)/bin/turbocam" $(patsubst systemd/%,"$(UNITS)/%",$(wildcard systemd/*.service))
	rm -rf "$(SHARE)"

clean:
	rm -rf .build .build-tsan Tests/output

format:
	$(SWIFT) format -i -r -p Package.swift Sources Tests

lint:
	$(SWIFT) format lint --strict -r -p Package.swift Sources Tests
	.ci/imports

# Debian packages: asks for nothing, installs nothing and says nothing where all are there.
packages: ; @.ci/packages $(BUILD_PACKAGES)
test-packages: ; @.ci/packages $(BUILD_PACKAGES) $(TEST_PACKAGES)

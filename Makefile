# A short front for Meson. `make help` lists what it can do.
SHELL  := /bin/sh
PREFIX ?= /usr/local
BUILD  ?= build
CACHE  := $(or $(WARREN_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/warren)
export PKG_CONFIG_PATH := $(CACHE)/openssl/lib/pkgconfig:$(PKG_CONFIG_PATH)

all: $(BUILD)/warren

help:
	@echo 'make            install what is missing, build build/warren'
	@echo 'make run        the same, then a hub, a node and a party on this machine, with an invite'
	@echo 'make demo       two private networks behind NATs join one LAN, in one terminal (root)'
	@echo 'make test       everything that this machine can test'
	@echo 'make fuzz       the fuzz targets for FUZZ_SECONDS each (default 600)'
	@echo 'make interop    against other people'"'"'s ICE, TURN and WebRTC programs on this machine'
	@echo 'make bench      the published figures, measured here'
	@echo 'make install    DESTDIR, PREFIX (default /usr/local)'
	@echo 'make style      clang-format in place'
	@echo 'make clean      remove the build folders'

setup:
	@tools/setup
setup-test:
	@tools/setup test
setup-interop:
	@tools/setup interop
setup-bench:
	@tools/setup bench

# As fast as the tests have it (tools/test gcc); but a compiler that nobody has tried yet may warn of what it likes.
$(BUILD)/build.ninja: | setup
	@meson setup $(BUILD) -Dtests=false -Doptimization=3 -Dwerror=false >$(BUILD).log 2>&1 || { cat $(BUILD).log; rm -f $(BUILD).log; exit 1; }; rm -f $(BUILD).log

$(BUILD)/warren: $(BUILD)/build.ninja FORCE | setup
	@ninja -C $(BUILD) warren
FORCE:

run: all
	@tools/run
demo: setup-test all
	@tools/demo
test: setup-test all
	@tools/test
fuzz: setup-test
	@tools/fuzz
interop: setup-interop
	@tools/interop
bench: setup-bench all
	@ninja -C $(BUILD)
	@tools/bench
install: all
	@tools/install "$(BUILD)" "$(DESTDIR)" "$(PREFIX)"
style:
	@git ls-files '*.c' '*.h' | xargs clang-format -i
clean:
	rm -rf build build-*

.PHONY: all help setup setup-test setup-interop setup-bench run demo test fuzz interop bench install style clean FORCE

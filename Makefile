# Quern. GNU make; gcc or clang; no configure step.  `make help` lists the targets.
CROSS ?=
CC := $(if $(filter default,$(origin CC)),$(CROSS)gcc,$(CC))
AR := $(if $(filter default,$(origin AR)),$(CROSS)ar,$(AR))
BUILD ?= build
PREFIX ?= /usr/local
OPT ?= -O2 -g
SAN ?=
RUN ?=

WARN := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Werror
# No contraction: a fused multiply-add only where the source says so (docs/NUMERICS.md).
CFLAGS_ALL = -std=gnu11 $(OPT) $(WARN) -ffp-contract=off -fno-math-errno -fvisibility=hidden -fPIC -fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections -pthread $(SAN) -Iinclude -Isrc -I. $(CFLAGS)
LDLIBS := -lm -pthread
# What is not in the way of a running model is small rather than fast.
SMALL := $(filter-out src/quant/observed.c src/quant/reconstruct.c src/quant/round.c src/quant/pack_small.c src/quant/pack_group.c src/quant/samples.c src/quant/greedy.c src/quant/orthogonal.c src/quant/input_transform.c src/quant/learn_clip.c,$(wildcard kernels/ref/*.c src/text/tokenizer_*.c src/text/*_write.c src/text/*_json.c src/text/chat.c src/base/*.c src/format/*.c src/model/*.c src/import/*.c src/quant/*.c src/api/*.c)) src/run/cache.c src/run/decoder.c src/run/encoder_static.c src/run/observe.c src/run/static.c
$(SMALL:%.c=$(BUILD)/%.o): OPT := $(OPT:-O2=-Oz)
# V=1 shows whole commands.
ifeq ($(V),)
say = @printf '  %-5s %s\n' $(1) $@;
endif

LIB_C := $(sort $(wildcard kernels/*.c kernels/*/*.c src/base/*.c src/format/*.c src/text/*.c src/model/*.c src/run/*.c src/import/*.c src/quant/*.c src/api/*.c))
CLI_C := $(sort $(wildcard src/cli/*.c))
LIB_O := $(LIB_C:%.c=$(BUILD)/%.o)
CLI_O := $(CLI_C:%.c=$(BUILD)/%.o)
TEST_C := $(sort $(wildcard tests/test_*.c))
FUZZ_C := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BIN := $(FUZZ_C:tests/fuzz/%.c=$(BUILD)/tests/%)
TEST_BIN := $(TEST_C:tests/%.c=$(BUILD)/tests/%) $(FUZZ_BIN)
TEST_SH := $(sort $(wildcard tests/test_*.sh))
MODEL := models/all-MiniLM-L6-v2.int8.qrn

VERSION := $(shell awk '/define QUERN_VERSION_NUMBER/ { v = $$3 + 0; print int(v / 10000) "." int(v / 100) % 100 "." v % 100 }' include/quern.h)
SOVERSION := $(firstword $(subst ., ,$(VERSION)))
# Where the linker is no GNU one: SO_LDFLAGS= on the command line; hidden visibility does the same.
SO_LDFLAGS := -Wl,-soname,libquern.so.$(SOVERSION) -Wl,--version-script=packaging/quern.map -Wl,-Bsymbolic-functions -Wl,--gc-sections

.PHONY: all objects demo test check check-san bench fuzz lint format clean help install uninstall amalgamation check-amalgamation
.SECONDARY:

all: $(BUILD)/quern $(BUILD)/libquern.a $(BUILD)/libquern.so ## the library and the command

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

$(BUILD)/libquern.a: $(LIB_O)
	@rm -f $@
	$(call say,AR)$(AR) rcs $@ $^

objects: $(BUILD)/libquern.a $(CLI_O) ## the archive and the command's objects: all that needs no linker

$(BUILD)/libquern.so: $(LIB_O) packaging/quern.map
	$(call say,LD)$(CC) $(CFLAGS_ALL) -shared $(SO_LDFLAGS) -o $@ $(LIB_O) $(LDFLAGS) $(LDLIBS)

$(BUILD)/quern: $(CLI_O) $(BUILD)/libquern.a
	$(call say,LD)$(CC) $(CFLAGS_ALL) -o $@ $^ $(LDFLAGS) $(LDLIBS)

# The command's own code, where a test holds a piece of it.
$(BUILD)/tests/test_squad: $(BUILD)/src/cli/eval_answers.o
$(BUILD)/tests/test_bench_load: $(BUILD)/src/cli/bench_load.o
$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/libquern.a
	$(call say,LD)$(CC) $(CFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LDFLAGS) $(LDLIBS)

# Fuzz targets over their corpora; `make fuzz` builds them with libFuzzer instead.
$(FUZZ_BIN): $(BUILD)/tests/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/tests/fuzz/replay.o $(BUILD)/libquern.a
	$(call say,LD)$(CC) $(CFLAGS_ALL) -o $@ $^ $(LDFLAGS) $(LDLIBS)

# Tests that stand between the library and the system (tests/wrapped.h), and between the command and its memory.
comma := ,
WRAP_SYSTEM := open read fstat stat mmap munmap pwrite write fsync close rename mkdir pthread_create
$(BUILD)/tests/test_faults: LDFLAGS += $(WRAP_SYSTEM:%=-Wl$(comma)--wrap=%)
$(BUILD)/tests/test_cli_faults: LDFLAGS += $(patsubst %,-Wl$(comma)--wrap=%,$(WRAP_SYSTEM) main malloc calloc realloc aligned_alloc strdup)
$(BUILD)/tests/test_cli_faults: $(CLI_O)
# Models of any architecture come from a source that a test makes up (tests/made_source.h).
WRAP_SOURCE := $(addprefix qn_source_,open close arch weight_bytes find read read_rows label name tokenizer speech)
$(BUILD)/tests/test_decode $(BUILD)/tests/test_cache $(BUILD)/tests/test_generate $(BUILD)/tests/test_saved $(BUILD)/tests/test_transform: LDFLAGS += $(WRAP_SOURCE:%=-Wl$(comma)--wrap=%)
$(BUILD)/tests/test_numa: LDFLAGS += $(patsubst %,-Wl$(comma)--wrap=%,open dlopen dlsym dlclose)

# Where things go: DESTDIR (a staging folder) stands before each, PREFIX and the folders below it are what files say.
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR ?= $(PREFIX)/share
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
CMAKEDIR := $(LIBDIR)/cmake/Quern
MANDIR ?= $(DATADIR)/man
BASHDIR ?= $(DATADIR)/bash-completion/completions
ZSHDIR ?= $(DATADIR)/zsh/site-functions
FISHDIR ?= $(DATADIR)/fish/vendor_completions.d
INSTALL ?= install
# STRIP=: keeps the symbols.
STRIP ?= $(CROSS)strip
INSTALLED := $(BINDIR)/quern $(LIBDIR)/libquern.a $(LIBDIR)/libquern.so $(LIBDIR)/libquern.so.$(SOVERSION) \
  $(LIBDIR)/libquern.so.$(VERSION) $(INCLUDEDIR)/quern.h $(PKGCONFIGDIR)/quern.pc $(CMAKEDIR)/QuernConfig.cmake \
  $(CMAKEDIR)/QuernConfigVersion.cmake $(MANDIR)/man1/quern.1 $(BASHDIR)/quern $(ZSHDIR)/_quern $(FISHDIR)/quern.fish
# From the CMake files' folder up to PREFIX and down to the header; libraries kept elsewhere say it whole.
up := $(shell echo '$(CMAKEDIR:$(PREFIX)/%=%)' | sed 's,[^/][^/]*,..,g')
INCLUDE_FROM_CMAKE := $(if $(filter $(PREFIX)/%,$(CMAKEDIR)),$(INCLUDEDIR:$(PREFIX)/%=$(up)/%),$(INCLUDEDIR))
fill = sed -e 's,@PREFIX@,$(PREFIX),g' -e 's,@LIBDIR@,$(LIBDIR:$(PREFIX)/%=$${prefix}/%),g' -e 's,@INCLUDEDIR@,$(INCLUDEDIR:$(PREFIX)/%=$${prefix}/%),g' \
  -e 's,@INCLUDE_FROM_CMAKE@,$(INCLUDE_FROM_CMAKE),g' -e 's,@VERSION@,$(VERSION),g' -e 's,@SOVERSION@,$(SOVERSION),g'

install: all ## command, libraries, header, pkg-config and CMake files, manual page, completion: DESTDIR= PREFIX=/usr/local
	$(INSTALL) -d $(addprefix $(DESTDIR),$(sort $(dir $(INSTALLED))))
	$(INSTALL) -m 755 $(BUILD)/quern $(DESTDIR)$(BINDIR)/quern
	$(INSTALL) -m 644 $(BUILD)/libquern.a $(DESTDIR)$(LIBDIR)/libquern.a
	$(INSTALL) -m 755 $(BUILD)/libquern.so $(DESTDIR)$(LIBDIR)/libquern.so.$(VERSION)
	$(if $(STRIP),$(STRIP) $(DESTDIR)$(BINDIR)/quern)
	$(if $(STRIP),$(STRIP) --strip-unneeded $(DESTDIR)$(LIBDIR)/libquern.so.$(VERSION))
	$(if $(STRIP),$(STRIP) --strip-debug $(DESTDIR)$(LIBDIR)/libquern.a)
	ln -sf libquern.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libquern.so.$(SOVERSION)
	ln -sf libquern.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libquern.so
	$(INSTALL) -m 644 include/quern.h $(DESTDIR)$(INCLUDEDIR)/quern.h
	$(fill) packaging/quern.pc.in >$(DESTDIR)$(PKGCONFIGDIR)/quern.pc
	$(fill) packaging/QuernConfig.cmake.in >$(DESTDIR)$(CMAKEDIR)/QuernConfig.cmake
	$(fill) packaging/QuernConfigVersion.cmake.in >$(DESTDIR)$(CMAKEDIR)/QuernConfigVersion.cmake
	$(RUN) $(BUILD)/quern --man >$(DESTDIR)$(MANDIR)/man1/quern.1
	$(RUN) $(BUILD)/quern --completion bash >$(DESTDIR)$(BASHDIR)/quern
	$(RUN) $(BUILD)/quern --completion zsh >$(DESTDIR)$(ZSHDIR)/_quern
	$(RUN) $(BUILD)/quern --completion fish >$(DESTDIR)$(FISHDIR)/quern.fish
	@chmod 644 $(addprefix $(DESTDIR),$(filter-out $(BINDIR)/% $(LIBDIR)/lib%,$(INSTALLED)))

amalgamation: $(BUILD)/quern.c $(BUILD)/quern.h ## the library as one file, build/quern.c, with its header
$(BUILD)/quern.c: tools/amalgamate.sh $(LIB_C) $(wildcard kernels/*.h kernels/*/*.h src/*/*.h)
	@mkdir -p $(@D)
	$(call say,SH)sh tools/amalgamate.sh $(LIB_C) >$@.part && mv $@.part $@
$(BUILD)/quern.h: include/quern.h
	@mkdir -p $(@D)
	@cp include/quern.h $@
check-amalgamation: all amalgamation ## the one file compiles without a warning and gives the library's bytes
	@BUILD=$(BUILD) MODEL=$(MODEL) CC="$(CC)" sh tests/check_amalgamation.sh

uninstall: ## removes what install put there, with the same DESTDIR and PREFIX
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	-rmdir $(DESTDIR)$(CMAKEDIR) 2>/dev/null

demo: $(BUILD)/quern ## search the shipped text with the shipped model
	@BUILD=$(BUILD) MODEL=$(MODEL) sh examples/demo.sh

test: all $(TEST_BIN) ## every test that needs only a compiler; ends with "N passed, N failed"
	@BUILD=$(BUILD) MODEL=$(MODEL) RUN="$(RUN)" sh tests/run.sh $(TEST_BIN) $(TEST_SH)

JOBS ?= $(shell nproc 2>/dev/null || echo 2)
check: ## everything in under two minutes: tests and the one file with gcc and clang, formatting
	@$(MAKE) --no-print-directory -j$(JOBS) --output-sync=target check-cc check-clang check-targets lint

check-targets: ## compiles for Android, macOS and iOS as far as a clang without their headers can
	@BUILD=$(BUILD) MAKE="$(MAKE)" sh tests/check_targets.sh

.PHONY: check-cc check-clang check-targets
check-cc:
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory check-amalgamation
check-clang:
	@if command -v clang >/dev/null; then $(MAKE) --no-print-directory check-cc CC=clang BUILD=$(BUILD)-clang; else echo "no clang: its build is skipped"; fi

SAN_FLAGS := -fno-sanitize-recover=all -fno-omit-frame-pointer
check-san: ## the tests under address, undefined and thread sanitizers
	@$(MAKE) --no-print-directory test BUILD=$(BUILD)-asan OPT="-O1 -g" SAN="-fsanitize=address,undefined $(SAN_FLAGS)"
	@$(MAKE) --no-print-directory test BUILD=$(BUILD)-tsan OPT="-O1 -g" SAN="-fsanitize=thread $(SAN_FLAGS)"

QEMU ?= qemu-aarch64
QEMU_CROSS := $(or $(CROSS),aarch64-linux-gnu-)
check-qemu: ## the tests on an emulated AArch64, about ten minutes; instructions of its kernels counted
	@command -v $(QEMU) >/dev/null || { echo "no $(QEMU): install qemu-user (Debian) or name it by QEMU="; exit 2; }
	@command -v $(QEMU_CROSS)gcc >/dev/null || { echo "no $(QEMU_CROSS)gcc: install gcc-aarch64-linux-gnu (Debian) or name its prefix by CROSS="; exit 2; }
	@$(if $(filter x86_64,$(shell uname -m)),$(MAKE) --no-print-directory CROSS= $(BUILD)/tests/test_kernels)
	@$(MAKE) --no-print-directory CROSS=$(QEMU_CROSS) BUILD=$(BUILD)-aarch64 X86_CHECKER=$(if $(filter x86_64,$(shell uname -m)),$(BUILD)/tests/test_kernels) qemu-tests

.PHONY: check-qemu qemu-tests
qemu-tests: all $(TEST_BIN) $(BUILD)/tests/one_gemm
	@BUILD=$(BUILD) CROSS=$(CROSS) QEMU=$(QEMU) X86_CHECKER=$(X86_CHECKER) TESTS="$(TEST_BIN)" sh tests/qemu/check.sh
$(BUILD)/tests/one_gemm: $(BUILD)/tests/qemu/one_gemm.o $(BUILD)/libquern.a
	$(call say,LD)$(CC) $(CFLAGS_ALL) -o $@ $^ $(LDFLAGS) $(LDLIBS)

bench: $(BUILD)/quern ## limits, kernels and the shipped model on this machine
	$(BUILD)/quern bench --limits
	$(BUILD)/quern bench --kernels
	$(BUILD)/quern bench $(MODEL) --batch 32 --seq 128 --threads 1

GLUE ?=
RECIPES ?= float,int8,w8a8-static,mixed,mixed-gelu
.PHONY: eval-glue
eval-glue: $(BUILD)/quern ## make eval-glue GLUE=folder of tasks DIRS="model-cola model-mrpc": recipes x models, one table; WORK=folder keeps what float gives
	@test -n "$(GLUE)" && test -n "$(DIRS)" || { echo 'needs GLUE=, a folder of CoLA, MRPC ... with train.tsv and dev.tsv, and DIRS=, models named ...-cola, ...-mrpc'; exit 2; }
	@python3 bench/eval_glue.py $(BUILD)/quern $(GLUE) $(DIRS) --recipes $(RECIPES) $(if $(WORK),--work $(WORK))

FUZZ_CC ?= clang
FUZZ_SAN := address,undefined -fno-sanitize-recover=all
SECONDS ?= 60
fuzz: ## make fuzz T=qrn SECONDS=60: one of tests/fuzz/fuzz_*.c with clang's libFuzzer
	@test -f tests/fuzz/fuzz_$(T).c || { echo "targets:" tests/fuzz/fuzz_*.c; exit 2; }
	@mkdir -p $(BUILD)-fuzz/corpus/$(T) tests/fuzz/corpus/$(T)
	@$(MAKE) --no-print-directory CC=$(FUZZ_CC) BUILD=$(BUILD)-fuzz OPT="-O1 -g" SAN="-fsanitize=fuzzer-no-link,$(FUZZ_SAN)" $(BUILD)-fuzz/libquern.a $(BUILD)-fuzz/tests/fuzz/fuzz_$(T).o
	$(FUZZ_CC) -pthread -fsanitize=fuzzer,$(FUZZ_SAN) -o $(BUILD)-fuzz/$(T) $(BUILD)-fuzz/tests/fuzz/fuzz_$(T).o $(BUILD)-fuzz/libquern.a $(LDLIBS)
	$(BUILD)-fuzz/$(T) -max_total_time=$(SECONDS) -rss_limit_mb=1024 $(BUILD)-fuzz/corpus/$(T) tests/fuzz/corpus/$(T)

C_FILES := $(sort $(wildcard include/*.h kernels/*.[ch] kernels/*/*.[ch] src/*/*.[ch] tests/*.[ch] tests/*/*.[ch] examples/c/*.c))
lint: ## formatting and, where they are installed, clang-tidy and cppcheck
	@if command -v clang-format >/dev/null; then clang-format --dry-run -Werror $(filter-out src/text/unicode_tables.c,$(C_FILES)); else echo "no clang-format"; fi
	@if command -v cppcheck >/dev/null; then cppcheck -q --error-exitcode=1 --enable=warning,portability --inline-suppr --suppress=missingIncludeSystem -Iinclude -Isrc -I. src; else echo "no cppcheck"; fi

format: ## clang-format on every C file
	clang-format -i $(filter-out src/text/unicode_tables.c,$(C_FILES))

clean: ## removes what was built
	rm -rf $(BUILD) build-*

-include $(LIB_O:.o=.d) $(CLI_O:.o=.d) $(TEST_BIN:=.d) $(FUZZ_C:%.c=$(BUILD)/%.d) $(BUILD)/tests/fuzz/replay.d

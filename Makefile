# Petals for a datacenter region.  `make help` lists what can be done.

BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=
ifeq ($(origin CC),default)
CC      := gcc
endif
VERSION := 0.1.0

# Who may include whom; `make tidy` rejects the rest.  A folder may always
# include itself.
USES_dataplane/base :=
USES_dataplane      := dataplane/base
USES_dataplane/dpdk := dataplane/base dataplane
USES_compute        := dataplane/base compute/model compute/text compute/cpu
USES_compute/model  := dataplane/base
USES_compute/text   := dataplane/base compute/model
USES_compute/cpu    := dataplane/base compute compute/model
USES_compute/cuda   := dataplane/base compute compute/model
USES_control        := dataplane/base dataplane compute compute/model compute/text
USES_tools          := dataplane/base dataplane compute compute/model compute/text compute/cpu control
LAYERS := dataplane/base dataplane dataplane/dpdk compute compute/model compute/text compute/cpu compute/cuda control tools

PROGRAMS := petals-directory petals-server petals-gateway petalsctl petals-bench petals-sim

LIBS     := -lIPSec_MB -lssl -lcrypto -luring -ljansson -lmicrohttpd -lgnutls -lsqlite3 -lpcre2-8 -lutf8proc -lcurl -ldl -lpthread -lm

# One build folder per variant; the variants differ only in these flags.
#   release   what operators run
#   asan      tests under AddressSanitizer and UBSan, faults injectable
#   tsan      tests under ThreadSanitizer, faults injectable
FLAGS_release := -O2
FLAGS_asan    := -O1 -DPETALS_FAULTS -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_tsan    := -O1 -DPETALS_FAULTS -fsanitize=thread

# No contraction: a*b+c is one FMA only where the source says fmaf(), so every
# path of a kernel computes the same bits.
CFLAGS_ALL := -std=gnu11 -D_GNU_SOURCE -I. -g -pthread -MMD -MP \
	-DPETALS_VERSION='"$(VERSION)"' -ffp-contract=off -fno-math-errno \
	-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wvla -Wno-unused-parameter -Werror

# Kernels compiled for one instruction set; chosen at run time.
ISA_avx2   := -mavx2 -mfma -mf16c
ISA_avx512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vbmi -mavx512vnni -mavx512bf16 -mfma -mf16c -mprefer-vector-width=512
isa = $(if $(filter %_avx512.c,$1),$(ISA_avx512),$(if $(filter %_avx2.c,$1),$(ISA_avx2)))

# The DPDK port is a module of its own, built where libdpdk-dev is: DPDK_MODULE is empty elsewhere.
# It brings its own copies of what a program may not have linked.
DPDK_MODULE  := $(if $(shell pkg-config --exists libdpdk 2>/dev/null && echo yes),$(BUILD)/lib/petals-dpdk.so)
DPDK_SOURCES := $(sort $(wildcard dataplane/dpdk/*.c)) dataplane/ethernet.c dataplane/neighbours.c
DPDK_LIBS    := -lrte_ethdev -lrte_mbuf -lrte_mempool -lrte_eal

# The CUDA backend is a module of its own, built where the toolkit is: NVCC is empty elsewhere.
CUDA ?= $(firstword $(patsubst %/bin/nvcc,%,$(wildcard $(shell command -v nvcc) /usr/local/cuda/bin/nvcc)))
NVCC := $(wildcard $(CUDA)/bin/nvcc)
CUDA_ARCHS := 80 86 89 90a
CUDA_MODULE := $(if $(NVCC),$(BUILD)/lib/petals-cuda.so)

LIB_SOURCES  := $(sort $(wildcard $(addsuffix /*.c,$(filter-out tools dataplane/dpdk compute/cuda,$(LAYERS)))))
CUDA_SOURCES := $(sort $(wildcard compute/cuda/*.c))
CUDA_KERNELS := $(sort $(wildcard compute/cuda/*.cu))
TOOL_SOURCES := $(patsubst petals-%,tools/%.c,$(patsubst petalsctl,tools/ctl.c,$(PROGRAMS)))
# A program is tools/NAME.c and tools/NAME_*.c; the rest of tools/ is every program's.
TOOL_PARTS   := $(sort $(wildcard $(TOOL_SOURCES:%.c=%_*.c)))
TOOL_SHARED  := $(filter-out $(TOOL_SOURCES) $(TOOL_PARTS),$(sort $(wildcard tools/*.c)))
TEST_SUPPORT := tests/main.c $(sort $(wildcard tests/support/*.c))
TEST_SOURCES := $(sort $(shell find tests -name '*_test.c'))
# These run kernels on a CPU, in one thread: under asan alone, and where the toolkit is.
CUDA_TESTS   := $(filter tests/compute/cuda/%,$(TEST_SOURCES))
TEST_SOURCES := $(filter-out $(CUDA_TESTS),$(TEST_SOURCES))
TESTS_asan    = $(if $(NVCC),$(CUDA_TESTS))
FUZZ_SOURCES := $(sort $(wildcard tests/fuzz/*_fuzz.c))

.PHONY: all help demo test cuda-check check tidy bench install uninstall clean setup fuzz scan man
.DEFAULT_GOAL := all

# In two steps, so that nothing is compiled before its packages are there; on
# every core unless -j says otherwise.
jobs = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
all: setup ## build every program into build/bin
	@$(MAKE) --no-print-directory $(jobs) programs

.PHONY: programs objects no-dpdk no-cuda has-cuda
programs: $(addprefix $(BUILD)/bin/,$(PROGRAMS)) $(or $(DPDK_MODULE),no-dpdk) $(or $(CUDA_MODULE),no-cuda)
no-dpdk:
	@echo "  no DPDK here: all but its module, lib/petals-dpdk.so (tools/setup.sh dpdk)"
no-cuda:
	@echo "  no nvcc here: all but the CUDA module, lib/petals-cuda.so"
has-cuda:
	@$(if $(NVCC),true,false)
# What `make scan` reads.
objects: $(BUILD)/release/libpetals.a $(patsubst %.c,$(BUILD)/release/%.o,$(wildcard tools/*.c))

help: ## list what can be made
	@awk -F':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## install the packages a build needs (Debian, as root or through sudo)
	@tools/setup.sh build

demo: all ## chat with SmolLM2 over three servers, kill one, see the same tokens
	@tools/demo.sh

test: setup ## install, build and run every test
	@tools/setup.sh test
	@tests/run.sh

cuda-check: setup ## the CUDA backend on the CPU that stands in for a GPU, ASan and UBSan
	@tools/setup.sh test
	@tests/run.sh --variants asan compute/cuda

check: setup tidy ## tidy, every test under ASan+UBSan and TSan, scan-build
	@tools/setup.sh check
	@tests/run.sh --variants "asan tsan"
	@$(MAKE) --no-print-directory scan

# The CUDA tests as released, for a GPU.
.PHONY: gpu-tests gpu-check gpu-pack
gpu-tests: $(if $(NVCC),$(CUDA_TESTS:tests/%.c=$(BUILD)/release/tests/%))

gpu-check: all ## test and measure the CUDA backend on this host's GPU (OUT=FOLDER)
	@$(MAKE) --no-print-directory $(jobs) gpu-tests
	@tools/gpu-check.sh

gpu-pack: all ## what gpu-check needs on a host without compilers: build/gpu-pack.tar.gz
	@$(MAKE) --no-print-directory $(jobs) gpu-tests
	@tools/gpu-check.sh --pack $(BUILD)/gpu-pack.tar.gz

tidy: ## check layers, lengths, banned words and calls
	@tools/tidy.sh

fuzz: ## build the libFuzzer fuzzers and run each one for FUZZ_RUNS inputs
	@tools/setup.sh check
	@tests/fuzz/run.sh

scan: ## clang's static analyser over every source
	@tools/setup.sh check
	@tools/scan.sh

bench: all ## measure this machine and append to the diary (tools/diary.md)
	@tools/bench.sh

# V=1 shows whole command lines.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-4s %s\n' '$1' '$(@:$(BUILD)/%=%)')

# One set of pattern rules per variant.
define variant_rules
# Tests find their data from wherever they are started.
$(BUILD)/$1/tests/main.o: private CFLAGS_ALL += -DPETALS_ROOT='"$(CURDIR)"'

$(BUILD)/$1/%.o: %.c
	@mkdir -p $$(@D)
	$$(call say,CC)
	$$Q$$(CC) $$(CFLAGS_ALL) $$(FLAGS_$1) $$(CFLAGS) $$(call isa,$$<) -c -o $$@ $$<

# Carries a text in the program.
$(BUILD)/$1/tools/bench_prose.o: tools/bench_quality.txt

$(BUILD)/$1/libpetals.a: $$(patsubst %.c,$(BUILD)/$1/%.o,$$(LIB_SOURCES))
	@rm -f $$@
	$$(call say,AR)
	$$Qar rcs $$@ $$^

$(BUILD)/$1/tests/%_test: $(BUILD)/$1/tests/%_test.o $$(patsubst %.c,$(BUILD)/$1/%.o,$$(TEST_SUPPORT) $$(TOOL_SHARED)) $(BUILD)/$1/libpetals.a
	$$(call say,LINK)
	$$Q$$(CC) $$(FLAGS_$1) $$(LDFLAGS) -rdynamic -o $$@ $$^ -lcmocka $$(LIBS)

$(BUILD)/$1/fuzz/%_fuzz: $(BUILD)/$1/tests/fuzz/%_fuzz.o $(BUILD)/$1/tests/fuzz/driver.o $(BUILD)/$1/libpetals.a
	@mkdir -p $$(@D)
	$$(call say,LINK)
	$$Q$$(CC) $$(FLAGS_$1) $$(LDFLAGS) -o $$@ $$^ $$(LIBS)

$(BUILD)/$1/tests/dataplane/dpdk/port_test: | $(DPDK_MODULE)

.PHONY: tests-$1
tests-$1: $$(patsubst tests/%.c,$(BUILD)/$1/tests/%,$$(TEST_SOURCES) $$(TESTS_$1)) $$(patsubst tests/fuzz/%.c,$(BUILD)/$1/fuzz/%,$$(FUZZ_SOURCES))
-include $$(patsubst %.c,$(BUILD)/$1/%.d,$$(LIB_SOURCES) $$(TOOL_SOURCES) $$(TOOL_PARTS) $$(TOOL_SHARED) $$(TEST_SUPPORT) $$(TEST_SOURCES) $$(FUZZ_SOURCES) tests/fuzz/driver.c)
endef
$(foreach v,release asan tsan,$(eval $(call variant_rules,$v)))

$(BUILD)/dpdk/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$Q$(CC) $(CFLAGS_ALL) $(FLAGS_release) -fPIC -fvisibility=hidden \
		$(patsubst -I%,-isystem %,$(shell pkg-config --cflags libdpdk)) $(CFLAGS) -c -o $@ $<

$(BUILD)/lib/petals-dpdk.so: $(patsubst %.c,$(BUILD)/dpdk/%.o,$(DPDK_SOURCES))
	@mkdir -p $(@D)
	$(call say,LINK)
	$Q$(CC) -shared $(FLAGS_release) $(LDFLAGS) -o $@ $^ $(DPDK_LIBS)
-include $(patsubst %.c,$(BUILD)/dpdk/%.d,$(DPDK_SOURCES))

# The kernels: one image per file, for every architecture; no contraction, as everywhere; a
# register that is spilled is an error.
NVCC_FLAGS := -std=c++17 -I. -fmad=false -lineinfo -Xptxas --warn-on-spills,--warning-as-error \
	$(foreach a,$(CUDA_ARCHS),-gencode arch=compute_$a,code=sm_$a) -gencode arch=compute_80,code=compute_80

$(BUILD)/cuda/%.fatbin: compute/cuda/%.cu
	@mkdir -p $(@D)
	$(call say,NVCC)
	$Q$(NVCC) $(NVCC_FLAGS) -MD -MP -MF $(@:.fatbin=.d) -MT $@ -fatbin -o $@ $<

CUDA_IMAGES := $(patsubst compute/cuda/%.cu,$(BUILD)/cuda/%.fatbin,$(CUDA_KERNELS))
$(BUILD)/cuda/images.inc: $(CUDA_IMAGES)
	@for f in $^; do n=$${f##*/}; echo "IMAGE($${n%.fatbin}, \"$$f\")"; done >$@
-include $(CUDA_IMAGES:.fatbin=.d)

# The module, and for tests a libcuda that runs the same kernels on a CPU (tests/cuda/).
define cuda_rules
$(BUILD)/$1/compute/cuda/%.o: CFLAGS_ALL += -fPIC -fvisibility=hidden -isystem $(CUDA)/include \
	-DCUDA_IMAGES='"$(BUILD)/cuda/images.inc"'
$(BUILD)/$1/compute/cuda/image.o: $(BUILD)/cuda/images.inc
$(BUILD)/$1/tests/cuda/%.o $(BUILD)/$1/tests/compute/cuda/%.o: CFLAGS_ALL += -isystem $(CUDA)/include
# Thousands of threads take turns there.
$(BUILD)/$1/tests/cuda/%.o: FLAGS_$1 += -O2 -fPIC -fvisibility=hidden

$(BUILD)/$1/lib/petals-cuda.so: $$(patsubst %.c,$(BUILD)/$1/%.o,$$(CUDA_SOURCES))
	@mkdir -p $$(@D)
	$$(call say,LINK)
	$$Q$$(CC) $$(FLAGS_$1) $$(LDFLAGS) -shared -o $$@ $$^ -ldl -lpthread -lm

$(BUILD)/$1/stand-in/%.o: %.cu
	@mkdir -p $$(@D)
	$$(call say,CXX)
	$$Q$$(CXX) -std=gnu++17 -I. -g -MMD -MP -fPIC -fvisibility=hidden -ffp-contract=off -Wall -Wextra \
		-Wshadow -Wno-unknown-pragmas -Werror $$(FLAGS_$1) $$(STAND_IN_$1) -include tests/cuda/device.h -x c++ -c -o $$@ $$<

$(BUILD)/$1/stand-in/libcuda.so.1: $$(patsubst %.c,$(BUILD)/$1/%.o,$$(filter-out %/lt.c,$$(wildcard tests/cuda/*.c))) $$(patsubst %.cu,$(BUILD)/$1/stand-in/%.o,$$(CUDA_KERNELS) tests/cuda/probe.cu)
	$$(call say,LINK)
	$$Q$$(CC) $$(FLAGS_$1) $$(LDFLAGS) -shared -Wl,-soname,libcuda.so.1 -o $$@ $$^ -lpthread -lm

$(BUILD)/$1/stand-in/libcublasLt.so.13: $(BUILD)/$1/tests/cuda/lt.o $(BUILD)/$1/tests/cuda/setting.o $(BUILD)/$1/stand-in/libcuda.so.1
	$$(call say,LINK)
	$$Q$$(CC) $$(FLAGS_$1) $$(LDFLAGS) -shared -Wl,-rpath,'$$$$ORIGIN' -o $$@ $$^ -lm

# Tests share the images, which are large.
$(BUILD)/$1/lib/cuda-images.so: compute/cuda/image.c $(BUILD)/cuda/images.inc
	@mkdir -p $$(@D)
	$$(call say,LINK)
	$$Q$$(CC) $$(CFLAGS_ALL) $$(FLAGS_$1) $$(CFLAGS) -fPIC -DCUDA_IMAGES='"$(BUILD)/cuda/images.inc"' \
		-shared -Wl,-soname,$$(@F) -o $$@ $$<

$(BUILD)/$1/tests/compute/cuda/%_test: $(BUILD)/$1/tests/compute/cuda/%_test.o $(BUILD)/$1/tests/compute/cuda/gpu.o $$(patsubst %.c,$(BUILD)/$1/%.o,$$(TEST_SUPPORT) $$(TOOL_SHARED) $$(filter-out %/module.c %/image.c,$$(CUDA_SOURCES))) $(BUILD)/$1/libpetals.a $(BUILD)/$1/lib/cuda-images.so | $(BUILD)/$1/stand-in/libcublasLt.so.13 $(BUILD)/$1/lib/petals-cuda.so
	$$(call say,LINK)
	$$Q$$(CC) $$(FLAGS_$1) $$(LDFLAGS) -rdynamic -Wl,-rpath,'$$$$ORIGIN/../../../lib' -o $$@ $$^ -lcmocka $$(LIBS)
-include $$(patsubst %.c,$(BUILD)/$1/%.d,$$(CUDA_SOURCES) $$(CUDA_TESTS) tests/compute/cuda/gpu.c $$(wildcard tests/cuda/*.c)) $$(patsubst %.cu,$(BUILD)/$1/stand-in/%.d,$$(CUDA_KERNELS) tests/cuda/probe.cu)
endef
STAND_IN_asan := -fsanitize-sections=cuda_shared
$(if $(NVCC),$(foreach v,release asan,$(eval $(call cuda_rules,$v))))

# What scenarios run the released module on.
.PHONY: stand-in
stand-in: $(if $(NVCC),$(BUILD)/release/stand-in/libcublasLt.so.13)

$(BUILD)/lib/petals-cuda.so: $(BUILD)/release/lib/petals-cuda.so
	@mkdir -p $(@D)
	@cp $< $@

# program, stem of its sources
define program_rule
$(BUILD)/bin/$1: $$(patsubst %.c,$(BUILD)/release/%.o,tools/$2.c $$(filter tools/$2_%,$$(TOOL_PARTS)) $$(TOOL_SHARED)) $(BUILD)/release/libpetals.a
	@mkdir -p $$(@D)
	$$(call say,LINK)
	$$Q$$(CC) $$(FLAGS_release) $$(LDFLAGS) -rdynamic -o $$@ $$^ $$(LIBS)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rule,$p,$(patsubst petals-%,%,$(patsubst petalsctl,ctl,$p)))))

man: all ## write the man pages into build/man
	@mkdir -p $(BUILD)/man/man1
	@for p in $(PROGRAMS); do $(BUILD)/bin/$$p --man >$(BUILD)/man/man1/$$p.1; done

install: all man ## install programs, man pages and the CUDA module under DESTDIR/PREFIX
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 $(addprefix $(BUILD)/bin/,$(PROGRAMS)) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(BUILD)/man/man1/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	$(if $(DPDK_MODULE),install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/petals $(DPDK_MODULE))
	$(if $(CUDA_MODULE),install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/petals $(CUDA_MODULE))

uninstall: ## remove what `make install` put there
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,$(PROGRAMS)) \
	      $(addprefix $(DESTDIR)$(PREFIX)/share/man/man1/,$(addsuffix .1,$(PROGRAMS))) \
	      $(DESTDIR)$(PREFIX)/lib/petals/petals-dpdk.so $(DESTDIR)$(PREFIX)/lib/petals/petals-cuda.so

clean: ## remove everything that was built
	rm -rf $(BUILD)

.SECONDARY:

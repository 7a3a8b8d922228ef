# Fuzzing with clang's libFuzzer: every parser that reads what others have written. A build of its
# own (build/fuzz), because it wants clang and other flags. Included by the Makefile.
#
#   make fuzz SECONDS=20            each of them so long, two at a time; a finding ends it
#   make fuzz F=fuzz_page SECONDS=600
#
# `make check` gives each 20 s, all side by side (FUZZ_SECONDS=0: none), where clang is there.
#
# What was found interesting stays in build/fuzz/corpus for the next time; what broke something is
# build/fuzz/FUZZER-crash-….

SECONDS   ?= 20
FUZZ_CC   ?= clang
FUZZ_OUT  := $(BUILD)/fuzz
FUZZ_DIRS := util db salvage recovery tick
# … and those files that read what comes from elsewhere, with what they call
FUZZ_MORE := $(wildcard src/daemon/config*.c) \
	src/gateway/gateway_yaml.c src/gateway/unit_file.c src/gateway/unit_parse.c src/ctl/sse.c \
	src/launch/toolsets.c src/notify/gateway_config.c src/notify/outbox.c src/hook/hook_kind.c $(wildcard src/root/lease_*.c) \
	src/board/board_place.c src/board/discover.c src/board/discover_meta.c $(wildcard src/board/edit*.c) \
	src/control/params.c src/control/peer.c src/control/reply.c src/control/route.c
FUZZ_OPT  := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_SRCS := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZERS   := $(FUZZ_SRCS:tests/fuzz/%.c=$(FUZZ_OUT)/%)
FUZZ_KIT  := $(FUZZ_OUT)/tests/fuzz/fuzz.o
FUZZ_OBJS := $(patsubst %.c,$(FUZZ_OUT)/%.o,$(sort $(wildcard $(FUZZ_DIRS:%=src/%/*.c)) $(FUZZ_MORE)))
FUZZ_RUN  := $(if $(F),$(addprefix $(FUZZ_OUT)/,$(F)),$(FUZZERS))

$(FUZZ_OUT)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(FUZZ_CC) $(STD) $(WARN) $(PKG_CFLAGS) $(FUZZ_OPT) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<
$(FUZZ_OUT)/libkanband.a: $(FUZZ_OBJS)
	@rm -f $@
	$(Q)ar rcs $@ $^
# what they call besides is taken from the ordinary build
$(FUZZERS): $(FUZZ_OUT)/%: $(FUZZ_OUT)/tests/fuzz/%.o $(FUZZ_KIT) $(FUZZ_OUT)/libkanband.a $(LIB)
	$(call say,LD)
	$(Q)$(FUZZ_CC) $(FUZZ_OPT) -fsanitize=fuzzer -o $@ $(filter-out $(LIB),$^) $(LIB) $(PKG_LIBS) -lpthread
-include $(FUZZ_OBJS:.o=.d) $(FUZZ_SRCS:%.c=$(FUZZ_OUT)/%.d) $(FUZZ_KIT:.o=.d)

# The same programs by the ordinary compiler, with a main() that gives them their seeds and
# what is near: tests/fuzz/replay in `make check`, under sanitizers in `make sanitize`.
REPLAYS     := $(FUZZ_SRCS:tests/fuzz/%.c=$(OUT)/tests/%)
REPLAY_KIT  := $(OUT)/tests/fuzz/fuzz.o $(OUT)/tests/fuzz/replay.o
$(REPLAYS): $(OUT)/tests/%: $(OUT)/tests/fuzz/%.o $(REPLAY_KIT) $(LIB)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -lpthread
tests: $(REPLAYS)
-include $(REPLAYS:$(OUT)/tests/%=$(OUT)/tests/fuzz/%.d) $(REPLAY_KIT:.o=.d)

.PHONY: fuzz fuzzers
fuzzers: $(FUZZERS)
fuzz: $(FUZZ_RUN) ## fuzz the parsers, SECONDS each (F=fuzz_page: only that)
	@tests/fuzz/run $(FUZZ_OUT) $(SECONDS) $(FUZZ_RUN)

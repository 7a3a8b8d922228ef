# kanband: one Makefile. `make help` lists the targets.
#
# Every build mode has a folder of its own under BUILD (build/release, build/asan, …), so that
# switching modes never mixes objects. All sources but the two mains go into one archive, which
# the two programs and every test link, and the verbs of kanbanctl, which it gathers by itself.

VERSION  := 0.1.0
prefix   ?= /usr/local
bindir   ?= $(prefix)/bin
sbindir  ?= $(prefix)/sbin
mandir   ?= $(prefix)/share/man
datadir  ?= $(prefix)/share
sysconfdir ?= /etc
libdir   ?= $(prefix)/lib
DESTDIR  ?=
BUILD    ?= build
MODE     ?= release
OUT      := $(BUILD)/$(MODE)

CC       ?= cc
PKGS     := sqlite3 libsystemd libuv jansson yaml-0.1 inih libmd libmicrohttpd libcurl smartcols ncursesw
PKG_CONFIG ?= pkg-config

# Warnings are errors: a warning that nobody has to fix is not read.
WARN := -Wall -Wextra -Werror -Wconversion -Wshadow -Wformat=2 -Wstrict-prototypes \
	-Wmissing-prototypes -Wvla -Wundef -Wpointer-arith -Wwrite-strings -Wno-sign-conversion
HARDEN := -fPIE -fstack-protector-strong -fstack-clash-protection -ffunction-sections -fdata-sections
LDHARDEN := -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed -Wl,--gc-sections
STD  := -std=gnu17 -D_GNU_SOURCE -Iinclude -DKANBAND_VERSION='"$(VERSION)"' \
	-DKANBAND_SYSCONFDIR='"$(sysconfdir)"'

ifeq ($(MODE),release)
OPT := -O2 -g -D_FORTIFY_SOURCE=2
else ifeq ($(MODE),ndebug)
# gcc 12 sees dangling pointers at -O3 where there are none
OPT := -O3 -DNDEBUG -D_FORTIFY_SOURCE=2 -Wno-dangling-pointer
else ifeq ($(MODE),asan)
OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
LDOPT := -fsanitize=address,undefined
else ifeq ($(MODE),tsan)
OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
LDOPT := -fsanitize=thread
else ifeq ($(MODE),coverage)
OPT := -O0 -g --coverage
LDOPT := --coverage
else ifeq ($(MODE),debug)
OPT := -O0 -g
else
$(error unknown MODE=$(MODE): release, ndebug, debug, asan, tsan, coverage)
endif

# Only asked when something is built, so that `make deps` works on a bare machine. Where there is
# no systemd, elogind's library has the same functions.
PKG_NAMES  = $(shell ! $(PKG_CONFIG) --exists libsystemd && $(PKG_CONFIG) --exists libelogind && \
	echo $(PKGS:libsystemd=libelogind) || echo $(PKGS))
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell $(PKG_CONFIG) --cflags $(PKG_NAMES)))$(PKG_CFLAGS)
CHECK_LIBS = $(eval CHECK_LIBS := $$(shell $(PKG_CONFIG) --libs check))$(CHECK_LIBS)
PKG_LIBS   = $(eval PKG_LIBS := $$(shell $(PKG_CONFIG) --libs $(PKG_NAMES)))$(PKG_LIBS)

ALL_CFLAGS = $(STD) $(WARN) $(HARDEN) $(OPT) $(PKG_CFLAGS) $(CFLAGS)
ALL_LDFLAGS = $(LDHARDEN) $(LDOPT) $(LDFLAGS)

MAINS := src/daemon/kanband.c src/ctl/kanbanctl.c
VERBS := $(sort $(wildcard src/ctl/verb_*.c))
SRCS  := $(filter-out $(MAINS) $(VERBS),$(sort $(wildcard src/*/*.c)))
OBJS  := $(SRCS:%.c=$(OUT)/%.o)
LIB   := $(OUT)/libkanband.a
PROGS := $(OUT)/kanband $(OUT)/kanbanctl

TEST_SRCS := $(sort $(wildcard tests/*/test_*.c))
TEST_KIT  := $(patsubst %.c,$(OUT)/%.o,$(sort $(wildcard tests/kit/*.c)))
TEST_LIB  := $(OUT)/tests/libkit.a
TESTS     := $(addprefix $(OUT)/tests/,$(basename $(notdir $(TEST_SRCS))))

.PHONY: all
all: $(PROGS) ## build kanband and kanbanctl

# One short line per command; `make V=1` shows the commands themselves.
Q = $(if $(V),,@)
say = $(if $(V),,@printf '%-4s %s\n' $(1) $@)

$(OUT)/tests/%.o: STD += -Itests
$(OUT)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The page is in the program as it is in its folder.
$(OUT)/src/control/web_page.o: $(wildcard src/control/page/*)

$(LIB): $(OBJS)
	@rm -f $@
	$(call say,AR)
	$(Q)$(AR) rcs $@ $^

$(OUT)/kanband: $(OUT)/src/daemon/kanband.o $(LIB)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -lpthread
$(OUT)/kanbanctl: $(OUT)/src/ctl/kanbanctl.o $(VERBS:%.c=$(OUT)/%.o) $(LIB)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -lpthread

# An archive, too: a program takes of the kits what it uses, and the main().
$(TEST_LIB): $(TEST_KIT)
	@rm -f $@
	$(call say,AR)
	$(Q)$(AR) rcs $@ $^

# A program stands beside the others whatever the folder of its source, so that its name alone tells it.
define test_program
$(OUT)/tests/$(basename $(notdir $(1))): $(OUT)/$(1:.c=.o) $(TEST_LIB) $(LIB)
	$$(call say,LD)
	$$(Q)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ $$(CHECK_LIBS) $$(PKG_LIBS) -lpthread
endef
$(foreach source,$(TEST_SRCS),$(eval $(call test_program,$(source))))

-include $(OBJS:.o=.d) $(patsubst %.c,$(OUT)/%.d,$(MAINS) $(VERBS)) $(TEST_KIT:.o=.d) $(TEST_SRCS:%.c=$(OUT)/%.d)

.PHONY: tests
tests: $(TESTS) ## build the unit tests

.PHONY: clean
clean: ## remove everything that was built
	rm -rf $(BUILD)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n",$$1,$$2}' $(MAKEFILE_LIST)

include tests/targets.mk tests/house.mk tests/fuzz.mk tests/bench.mk tests/demo.mk systemd/install.mk

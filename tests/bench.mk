# make bench: what kanband takes, beside what this machine takes without it.

BENCH_OBJS := $(patsubst %.c,$(OUT)/%.o,$(filter-out tests/bench/stamp.c,$(sort $(wildcard tests/bench/*.c))))

$(OUT)/tests/bench-stamp: $(OUT)/tests/bench/stamp.o
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^
$(OUT)/tests/bench-rows: $(BENCH_OBJS) $(LIB)
	$(call say,LD)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -lm -lpthread

# BENCH_ROWS='tick sweep ready host boards spawn takeover launch' measures some; BENCH_BOARDS=1000 takes fewer boards.
# launch: each launcher, of which systemd and slurm want root, and the packages of make deps.
.PHONY: bench
bench: $(PROGS) $(OUT)/tests/bench-rows $(OUT)/tests/bench-stamp ## measure: a table, and JSON in build/MODE/bench.json
	@$(OUT)/tests/bench-rows $(OUT) $(OUT)/bench.json

-include $(BENCH_OBJS:.o=.d) $(OUT)/tests/bench/stamp.d

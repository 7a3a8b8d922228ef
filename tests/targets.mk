# Targets that run things: check, and what the later issues add. Included by the Makefile.

.PHONY: unit
unit: $(TESTS) ## run the unit tests (T=test_fs runs one)
	@set -e; for t in $(if $(T),$(OUT)/tests/$(T),$(TESTS)); do echo "== $$t"; $$t; done

.PHONY: simulate
simulate: $(OUT)/tests/test_turns ## whose turn: waits by priority and fairness, beside a naive queue
	@CK_RUN_CASE=simulation $< | grep -v '^Running\|^100%'

# The black-box tests run the programs, with a worker that does as it is told.
RIG_TESTS := $(filter $(OUT)/tests/test_once_% $(OUT)/tests/test_daemon_% \
	$(OUT)/tests/test_incidents% $(OUT)/tests/test_control_% \
	$(OUT)/tests/test_torture,$(TESTS))
$(OUT)/tests/rig-worker: $(OUT)/tests/worker/worker.o
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)
$(RIG_TESTS): | $(OUT)/tests/rig-worker $(PROGS)
$(filter $(OUT)/tests/test_ctl%,$(TESTS)): | $(OUT)/kanbanctl
-include $(OUT)/tests/worker/worker.d

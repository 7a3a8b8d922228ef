# Targets that run things: check, and what the later issues add. Included by the Makefile.

.PHONY: unit
unit: $(TESTS) ## run the unit tests (T=test_fs runs one)
	@set -e; for t in $(if $(T),$(OUT)/tests/$(T),$(TESTS)); do echo "== $$t"; $$t; done

# the black-box tests of kanbanctl run the program that is built beside them
$(OUT)/tests/test_ctl $(OUT)/tests/test_ctl_hostile: | $(OUT)/kanbanctl

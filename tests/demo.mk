# make demo: install what is missing, build, and show what no queue has. Under 30 s after the
# build; exit 0 only if all of it was seen.

.PHONY: demo
demo: ## fair turns, a takeover, a repair, before your eyes
	@+$(MAKE) --no-print-directory deps
	@+$(MAKE) --no-print-directory all
	@tests/demo/demo $(OUT)

# make demo: install what is missing, build, and show boards moving to done. Under 30 s after the
# build; exit 0 only if every task ended as it must.

.PHONY: demo
demo: ## two boards from ready to done, before your eyes
	@+$(MAKE) --no-print-directory deps
	@+$(MAKE) --no-print-directory all
	@tests/demo/demo $(OUT)

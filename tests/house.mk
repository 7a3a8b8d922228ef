# deps, check and the wider rounds: sanitizers, coverage, lint. Included by the Makefile.

# How much at a time; two tests more than processors, because many wait for a clock.
JOBS ?= $(shell nproc)
TEST_JOBS ?= $(shell expr $(JOBS) + 2)

.PHONY: deps deps-dev
deps: ## install what the build and its tests need and is not there
	@sh conf/deps $(PKGS) check
	@+$(MAKE) --no-print-directory deps-npm
deps-dev: ## and what lint needs
	@sh conf/deps --dev $(PKGS) check

# axe-core judges whether the page can be used by everybody, @grafana/schema whether a Grafana takes
# the dashboard; nothing of them is in what is built. Versions and hashes are in package-lock.json of
# tests/page and tests/grafana. Without them those tests skip.
.PHONY: deps-npm
deps-npm: ## what the tests of the page and of the dashboard want from npm
	@tests/npm page build/npm/node_modules/axe-core/axe.min.js axe-core
	@tests/npm grafana build/grafana/node_modules/typescript/lib/typescript.js @grafana/schema

# T='test_fs systemd/service' or T='test_once_*' runs some; MODE=asan runs them under sanitizers.
.PHONY: check
check: deps-deb ## build and run all tests
	@+$(MAKE) --no-print-directory -j$(JOBS) all tests
	@OUT=$(OUT) MODE=$(MODE) tests/run -j $(TEST_JOBS) $(if $(T),$(patsubst %,'%',$(T)))

.PHONY: shots
shots: all ## pictures of the page and of top at several sizes, light and dark, into build/shots
	@OUT=$(OUT) node tests/page/shots.mjs $(BUILD)/shots

# Three programs side by side: 500 kills, for at most 14 minutes, and two sweeps with a fault at
# each call, 35,000 tries, about 8 minutes each on 2 busy cores. KANBAND_SEED repeats the kills of
# a run, which prints it; KANBAND_TORTURE_SAY=1 tells how many calls and tries there were.
.PHONY: torture
torture: all tests ## 500 kills at random instants, a fault at every call of the file system
	@KANBAND_STARTS=500 OUT=$(OUT) MODE=$(MODE) tests/run systemd/launch-limits
	@KANBAND_TORTURE=1 OUT=$(OUT) MODE=$(MODE) tests/run -j $(TEST_JOBS) test_torture 'test_fault*' systemd/ends

# B='lease-*' plants some. Each bug is compiled and tested in a copy; 10 minutes on 2 processors.
.PHONY: mutants
mutants: all tests ## plant bugs, one at a time, and show that the tests notice each
	@OUT=$(OUT) tests/mutants/run -j $(TEST_JOBS) $(if $(B),$(patsubst %,'%',$(B)))

.PHONY: check-systemd
check-systemd: all ## only the tests under a real systemd
	@OUT=$(OUT) MODE=$(MODE) tests/run -j $(TEST_JOBS) 'systemd/*'

# On the distribution's kernel in a virtual machine; some minutes where qemu has no KVM.
.PHONY: check-vm
check-vm: all ## tests under systemd whose kernel is not this machine's: T=systemd/memory
	@KANBAND_VM=1 KANBAND_PATIENCE=$${KANBAND_PATIENCE:-5} OUT=$(OUT) MODE=$(MODE) \
		tests/run -j 1 $(if $(T),$(patsubst %,'%',$(T)),systemd/memory)

# What has threads of its own or shares state with the pool: the lease's waiter, and the daemon.
TSAN_TESTS ?= $(filter test_job% test_lease% test_daemon%,$(notdir $(TESTS)))

.PHONY: sanitize
sanitize: ## check under ASan and UBSan, then the threaded modules under ThreadSanitizer
	@+$(MAKE) --no-print-directory MODE=asan check
	@+$(MAKE) --no-print-directory MODE=tsan T='$(TSAN_TESTS)' check

.PHONY: coverage
coverage: ## line and branch coverage per file, the least covered first
	@+$(MAKE) --no-print-directory MODE=coverage check
	@tests/coverage $(BUILD)/coverage

.PHONY: lint
lint: ## format, clang, clang-tidy, cppcheck, headers alone, include direction, manuals, scripts
	@+tests/lint/lint $(BUILD)/lint

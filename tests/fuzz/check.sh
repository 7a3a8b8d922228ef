#!/bin/bash
# Each fuzzer from its seeds for FUZZ_SECONDS (20; 0: none), all of them side by side; in a build of
# its own, with clang. `make fuzz` gives them the processors two at a time, and longer.
# test-timeout: 600
set -u
cd "$(dirname "$0")/../.." || exit 1
seconds=${FUZZ_SECONDS:-20}
((seconds > 0)) || { echo "SKIP: FUZZ_SECONDS is 0"; exit 77; }
[[ ${MODE:-release} == release ]] || { echo "SKIP: once is enough, in release mode"; exit 77; }
cc=${FUZZ_CC:-clang}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return n > 9 && d[0] ? 0 : 0; }' >"$work/x.c"
"${cc##* }" -fsanitize=fuzzer,address,undefined -o "$work/x" "$work/x.c" 2>/dev/null ||
	{ echo "SKIP: no clang with libFuzzer"; exit 77; }
rm -f "$work/x" "$work/x.c"
nice -n 5 make -s -j2 FUZZ_CC="$cc" fuzzers >"$work/log" 2>&1 || { tail -n 40 "$work/log"; exit 1; }
fuzzers=(tests/fuzz/fuzz_*.c)
names=()
for f in "${fuzzers[@]}"; do names+=("build/fuzz/$(basename "$f" .c)"); done
FUZZ_JOBS=${#names[@]} nice -n 5 tests/fuzz/run build/fuzz "$seconds" "${names[@]}" | sed -E 's/^ok +/ok - /; s/^FAIL +/not ok - /'
exit "${PIPESTATUS[0]}"

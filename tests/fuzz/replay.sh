#!/bin/bash
# Each fuzzer with its seeds and what is near them, by the ordinary compiler: that they build, and
# that nothing simple breaks a parser, is seen at every check, with and without clang.
# fuzz/check and `make fuzz` look further. test-in-memory
set -u
cd "$(dirname "$0")/../.." || exit 1
OUT=${OUT:-build/release}
command -v sqlite3 >/dev/null || { echo "SKIP: the seeds need the sqlite3 program"; exit 77; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
bash tests/fuzz/seeds "$dir/seeds" || exit 1
failed=0
for source in tests/fuzz/fuzz_*.c; do
	name=$(basename "$source" .c)
	mkdir "$dir/$name"
	if said=$(FUZZ_DIR=$dir/$name "$OUT/tests/$name" 2 "$dir/seeds/$name/"* 2>&1); then
		echo "ok - $name: $said"
	else
		echo "not ok - $name: status $?: $said"
		failed=1
	fi
done
exit $failed

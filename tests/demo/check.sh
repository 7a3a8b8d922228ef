#!/bin/sh
# The demo ends as it must, in time, and leaves nothing behind. test-timeout: 90
set -eu
cd "$(dirname "$0")/../.."
OUT=${OUT:-build/release}
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/kanband-demo-check.XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

tests/demo/demo "$OUT"
echo "ok - all that the demo promises was seen"
[ -z "$(ls "$TMPDIR")" ] || { echo "not ok - the demo left files behind"; exit 1; }
! pgrep -f "kanband --config $TMPDIR" >/dev/null || { echo "not ok - kanband still runs"; exit 1; }
echo "ok - nothing is left of it"

#!/bin/bash
# The page of the daemon in a headless Chromium, with axe-core for accessibility.
# test-timeout: 300
cd "$(dirname "$0")/../.." || exit 1
axe=${AXE:-build/npm/node_modules/axe-core/axe.min.js}
for tool in node sqlite3 "${CHROMIUM:-chromium}"; do
	command -v "$tool" >/dev/null || { echo "SKIP: no $tool; run: make deps"; exit 77; }
done
[[ -f $axe ]] || { echo "SKIP: no axe-core; run: make deps"; exit 77; }
exec node tests/page/check.mjs "$axe"

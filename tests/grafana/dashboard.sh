#!/bin/bash
# The dashboard against the types of a real Grafana. (A Grafana itself is in no registry that is asked.)
cd "$(dirname "$0")/../.." || exit 1
modules=build/grafana/node_modules
command -v node >/dev/null || { echo "SKIP: no node; run: make deps"; exit 77; }
[[ -f $modules/@grafana/schema/package.json ]] || { echo "SKIP: no @grafana/schema; run: make deps"; exit 77; }
exec node tests/grafana/check.mjs "$modules" conf/grafana/kanband.json

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# smoke.sh BIN: measures a cluster twenty-five times too small, and wants every figure of partage-bench in the table. The figures mean nothing.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
json=$(mktemp)
trap 'rm -f "$json"' EXIT
"$1/partage-bench" --shrink 25 | "$here/report.py" --without e2e_ --json "$json"
python3 -c 'import json, sys; assert {row["value"] > 0 for row in json.load(open(sys.argv[1]))} == {True}' "$json"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Measures and reports: one table on stdout, progress on stderr. Fails when something could not be measured, never for a missed target.
# Expects a release build; `./run bench` makes it. BIN names another folder of programs.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")

usage() {
  cat <<'TEXT'
usage: ./run bench [scheduler] [--json FILE] [--only ID-PREFIX] [--quick]

  --json FILE       also write [{"id","value","unit","target"}]
  --only ID-PREFIX  only measurements whose id begins so, e.g. filter_, e2e_
  --quick           sizes divided by ten: to see that it works; the numbers mean nothing
TEXT
}

bin=${BIN:-$here/../../build/release/bin}
only='' shrink=1
report=()
[[ ${1:-} != scheduler ]] || shift
while (($#)); do
  case $1 in
    --json) report+=(--json "${2:?--json needs a file}") && shift ;;
    --only) only=${2:?--only needs the beginning of an id} && shift ;;
    --quick) shrink=10 ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift
done

measure() {
  [[ $only == e2e* ]] || "$bin/partage-bench" --shrink "$shrink" --only "$only"
  [[ -n $only && $only != e* ]] || PARTAGE_SCHEDULER=$bin/partage-scheduler "$here/e2e_ratio.py" --shrink "$shrink" --only "$only"
}

measure | "$here/report.py" --only "$only" "${report[@]}"

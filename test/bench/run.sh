#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Measures and reports: one table on stdout, progress on stderr. Fails when something could not be measured, never for a missed target.
# Expects a release build; `./run bench` makes it. BIN names another folder of programs.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")

usage() {
  cat <<'TEXT'
usage: ./run bench [scheduler|intercept] [--json FILE] [--only ID-PREFIX] [--quick]

  scheduler         the scheduler on simulated clusters; this without a word
  intercept         what libpartage.so adds to calls of the driver, on the fake driver
  --json FILE       also write [{"id","value","unit","target"}]
  --only ID-PREFIX  only measurements whose id begins so, e.g. filter_, e2e_
  --quick           sizes divided by ten: to see that it works; the numbers mean nothing
TEXT
}

bin=${BIN:-$here/../../build/release/bin}
only='' shrink=1 subject=scheduler
report=()
case ${1:-} in
  scheduler | intercept) subject=$1 && shift ;;
esac
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

measure_intercept() {
  local build
  build=$(dirname "$bin")
  "$bin/partage-intercept-bench" --driver "$build/test/support/libcuda/lib" --library "$build/lib/libpartage.so" --shrink "$shrink" --only "$only"
}

measure_scheduler() {
  [[ $only == e2e* ]] || "$bin/partage-bench" --shrink "$shrink" --only "$only"
  [[ -n $only && $only != e* ]] || PARTAGE_SCHEDULER=$bin/partage-scheduler "$here/e2e_ratio.py" --shrink "$shrink" --only "$only"
}

"measure_$subject" | "$here/report.py" --subject "$subject" --only "$only" "${report[@]}"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# fuzz.sh PROGRAM [--check] [--seconds N] [TARGET…]: runs targets (default: all), N seconds in all shared evenly, from their corpora. What is found new that
# is of interest goes to build/fuzz-corpus and is used by the next run. On a fault: the input is saved and named, the other targets still run, exit status 1.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
root=$here/../..
program=${1:?usage: fuzz.sh PROGRAM [--check] [--seconds N] [TARGET…]}
shift
seconds=60
while [[ ${1:-} == --* ]]; do
  case $1 in
    --check) exec diff <("$program") <(ls "$here/corpus") ;;
    --seconds) seconds=${2:?--seconds needs a number} && shift ;;
    *) echo "fuzz.sh: no option $1" >&2 && exit 2 ;;
  esac
  shift
done

mapfile -t targets < <((($#)) && printf '%s\n' "$@" || "$program")
share=$(((seconds + ${#targets[@]} - 1) / ${#targets[@]}))
faults=$root/build/fuzz-faults
log=$(mktemp)
trap 'rm -f "$log"' EXIT
found=()

# The options bound one input: 5 seconds, 1 GiB, 16 KiB (an ordinary pod is 2 KiB).
fuzz() {  # fuzz TARGET
  local fresh=$root/build/fuzz-corpus/$1
  mkdir -p "$fresh" "$faults"
  "$program" "$1" -max_total_time="$share" -timeout=5 -rss_limit_mb=1024 -max_len=16384 -artifact_prefix="$faults/$1-" -print_final_stats=1 \
    "$fresh" "$here/corpus/$1" >"$log" 2>&1
}

for target in "${targets[@]}"; do
  if fuzz "$target"; then
    printf 'fuzz: %-16s %9d inputs, no fault\n' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
  else
    tail -n 60 "$log" >&2
    found+=("$target: $(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)")
    printf 'fuzz: %-16s FAULT\n' "$target"
  fi
done
((${#found[@]} == 0)) && exit
printf 'fuzz: a fault in %s\n' "${found[@]}" >&2
printf 'fuzz: to see one again: %s TARGET FILE\n' "$program" >&2
exit 1

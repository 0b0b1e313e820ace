#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# fuzz.sh PROGRAM [--check] [--seconds N] [TARGET…]: runs targets (default: all) from their corpora, as many at once as there are CPUs; N seconds in all, shared
# evenly. What is found new that is of interest goes to build/fuzz-corpus and is used by the next run. On a fault: the input is saved and named, the other
# targets still run, exit status 1.
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
at_once=$(nproc)
((at_once > ${#targets[@]})) && at_once=${#targets[@]}
share=$(((seconds * at_once + ${#targets[@]} - 1) / ${#targets[@]}))
faults=$root/build/fuzz-faults
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# The options bound one input: 5 seconds, 1 GiB, 16 KiB (an ordinary pod is 2 KiB).
fuzz() {  # fuzz TARGET
  local fresh=$root/build/fuzz-corpus/$1 log=$logs/$1
  mkdir -p "$fresh" "$faults"
  if "$program" "$1" -max_total_time="$share" -timeout=5 -rss_limit_mb=1024 -max_len=16384 -artifact_prefix="$faults/$1-" -print_final_stats=1 \
    "$fresh" "$here/corpus/$1" >"$log" 2>&1; then
    printf 'fuzz: %-16s %9d inputs, no fault\n' "$1" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
    return
  fi
  tail -n 60 "$log" >&2
  echo "$1: $(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)" >>"$logs/found"
  printf 'fuzz: %-16s FAULT\n' "$1"
}

running=0
for target in "${targets[@]}"; do
  ((running++ < at_once)) || wait -n
  fuzz "$target" &
done
wait
[[ -e $logs/found ]] || exit 0
sed 's/^/fuzz: a fault in /' "$logs/found" >&2
printf 'fuzz: to see one again: %s TARGET FILE\n' "$program" >&2
exit 1

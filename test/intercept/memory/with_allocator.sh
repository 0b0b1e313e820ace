#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# with_allocator.sh SONAME LIBRARY PROGRAM: the program with another allocator preloaded before the library, as some images do.
set -euo pipefail
allocator=$(ldconfig -p | awk -v name="$1" '$1 == name { path = $NF } END { print path }')  # to its end: ldconfig must not die of a closed pipe
[[ -n $allocator ]] || { echo "SKIPPED: $1 is not installed" && exit 77; }
exec env LD_PRELOAD="$allocator:$2" "$3"

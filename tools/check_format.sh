#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fails when a C++ file is not as clang-format writes it, and names it; --fix rewrites instead.
set -euo pipefail

sources() { git ls-files -z -co --exclude-standard '*.h' '*.cc'; }

format() { xargs -0 -r -n 20 -P "$(nproc)" clang-format "$@"; }

if [[ ${1:-} == --fix ]]; then
  sources | format -i
  exit
fi
if ! complaints=$(sources | format --dry-run -Werror 2>&1); then
  grep --only-matching --perl-regexp '^[^ :]+\.(h|cc)(?=:)' <<<"$complaints" | sort --unique >&2
  echo "format: these files are not as clang-format writes them; ./run fmt repairs that" >&2
  exit 1
fi
echo "format: ok"

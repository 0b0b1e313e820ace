#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Measures libpartage.so on this machine's GPU. Needs a driver, a C++20 compiler and Python 3; PyTorch for two of the measurements.
# On the fake driver it runs too: LD_LIBRARY_PATH to one of its folders and FAKE_CUDA set.
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
root=$(realpath "$here/../..")

usage() {
  cat <<'TEXT'
usage: test/gpu/run.sh [--library FILE] [--out FOLDER] [--quick] [--only PART]... [--share-mib N]

  --library FILE  this libpartage.so; otherwise it is built, with zig from PyPI where that can be had, else with $CXX
  --out FOLDER    where report.json and report.md go; build/gpu without a word
  --quick         few and short measurements: to see that it works
  --only PART     hooks, memory, limiter, isolation or overhead
  --share-mib N   the memory limit of a limited container, 8192 MiB without a word

Exit status: 0 measured; 1 a part failed, or hooks or the memory limit do not hold; 77 there is no driver here.
TEXT
}

library='' out=$root/build/gpu
pass=()
while (($#)); do
  case $1 in
    --library) library=${2:?--library needs a file} && shift ;;
    --out) out=${2:?--out needs a folder} && shift ;;
    --quick) pass+=(--quick) ;;
    --only | --share-mib) pass+=("$1" "${2:?$1 needs a value}") && shift ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
  esac
  shift
done

work=$root/build/gpu-work
cxx=${CXX:-g++}
mkdir -p "$work"

build_library() {
  local compiler=("$cxx") objects
  if [[ -x $root/build/zig/bin/zig ]]; then
    compiler=("$root/build/zig/bin/zig" c++ -target "$(uname -m)-linux-gnu.2.17")
  elif python3 -m venv "$work/zig" >/dev/null 2>&1 && "$work/zig/bin/pip" install --quiet --disable-pip-version-check ziglang==0.17.1 >/dev/null 2>&1; then
    compiler=("$work/zig/bin/python" -m ziglang c++ -target "$(uname -m)-linux-gnu.2.17")
  fi
  echo "building libpartage.so with ${compiler[*]}"
  local sources source
  mapfile -t sources < <(cd "$root/src" && find intercept shm -name '*.cc')
  objects=()
  for source in "${sources[@]}"; do
    mkdir -p "$work/$(dirname "$source")"
    objects+=("$work/$source.o")
  done
  printf '%s\n' "${sources[@]}" | xargs -P "$(nproc)" -I{} "${compiler[@]}" -std=c++20 -O2 -fPIC -fvisibility=hidden -fno-exceptions -fno-rtti \
    -fno-semantic-interposition -ftls-model=initial-exec -fno-stack-protector -DNDEBUG -I"$root/src" -c "$root/src/{}" -o "$work/{}.o"
  # Without the C++ runtime: nothing of it is used, and it is not in every container.
  "${compiler[@]}" -shared -nodefaultlibs -s -Wl,-soname,libpartage.so -Wl,--version-script="$root/src/intercept/exports.map" \
    -Wl,-z,lazy -Wl,-z,norelro -Wl,-z,nodelete "${objects[@]}" -o "$work/libpartage.so" -lc
  library=$work/libpartage.so
}

build_client() {
  [[ $work/client -nt $here/client.cc && $work/client -nt $here/driver.h ]] && return
  "$cxx" -std=c++20 -O2 -Wall -Wextra -I"$root/src" "$here/client.cc" -o "$work/client" -ldl
}

has_driver() { python3 -c 'import ctypes; ctypes.CDLL("libcuda.so.1")' 2>/dev/null; }

has_driver || { echo "no libcuda.so.1 on this machine: nothing can be measured" && exit 77; }
[[ -n $library ]] || build_library
build_client
exec "$here/measure.py" --library "$library" --client "$work/client" --out "$out" "${pass[@]}"

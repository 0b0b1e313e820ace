#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# other_systems.sh ZIG LIBRARY LIBRARY_AARCH64: libpartage.so on other systems than this one. Debian's libc of 11 (2.31, where dlopen is in libdl) and of 13
# (2.41), and on 64-bit Arm under qemu; musl must refuse it and say why. Packages are fetched into build/systems and unpacked, not installed. Ends
# with 77 and the reason when they cannot be had.
set -euo pipefail
zig=$1 library=$2 library_aarch64=$3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(cd "$here/../../.." && pwd)/build/systems
mkdir -p "$folder"
cd "$folder"
export ZIG_GLOBAL_CACHE_DIR=$folder/../zig-cache ZIG_LOCAL_CACHE_DIR=$folder/../zig-cache

skip() {
  echo "SKIPPED: $*"
  exit 77
}

fetch() {  # fetch FOLDER SUITE ARCHITECTURE PACKAGE: unpacked into FOLDER
  [[ -e $1/complete ]] && return
  local state=$folder/apt-$2-$3
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$1.new"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $2 main" >"$state/sources.list"
  local options=(-qq -o "Dir::Etc::SourceList=$state/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$state/lists"
    -o "Dir::Cache=$state/cache" -o Dir::State::status=/dev/null -o "APT::Architecture=$3" -o "APT::Architectures=$3")
  apt-get "${options[@]}" update >/dev/null 2>&1 || skip "Debian $2 cannot be reached"
  (cd "$1.new" && apt-get "${options[@]}" download "$4" >/dev/null 2>&1) || skip "$4 of Debian $2 cannot be downloaded"
  dpkg-deb --extract "$1.new/"*.deb "$1.new"
  rm "$1.new/"*.deb
  touch "$1.new/complete"
  rm -rf "$1"
  mv "$1.new" "$1"
}

build() {  # build ARCHITECTURE: small_probe and its driver
  local target=(-target "$1-linux-gnu.2.17") name
  mkdir -p "$1/driver"
  for name in small_probe toy_driver; do
    "$zig" c++ "${target[@]}" -std=c++20 -O1 -fPIC -fno-sanitize=all -fno-exceptions -fno-rtti -I"$here/../../../src" -c "$here/$name.cc" -o "$1/$name.o"
  done
  "$zig" cc "${target[@]}" "$1/small_probe.o" -o "$1/probe" -ldl
  "$zig" cc "${target[@]}" -shared "$1/toy_driver.o" -Wl,-soname,libcuda.so.1 -o "$1/driver/libcuda.so.1"
}

wanted="name 0 1024 whole
path 0 1024 whole
namespace 0 1024 whole
child 0 1024 whole
ended 0"

expect() {  # expect NAME WANTED GOT
  [[ $2 == "$3" ]] && return
  printf '%s: wanted\n%s\nbut got\n%s\n' "$1" "$2" "$3"
  exit 1
}

usage=$(mktemp -u "$folder/usage.XXXXXX")
trap 'rm -f "$usage"' EXIT
export CUDA_DEVICE_MEMORY_LIMIT=1g PARTAGE_USAGE=$usage

fetch libc-2.31 bullseye amd64 libc6
fetch libc-2.41 trixie amd64 libc6
fetch musl bookworm amd64 musl
build x86_64
for libc in libc-2.31 libc-2.41; do
  loader=$(find "$folder/$libc" -path '*x86_64-linux-gnu/ld-linux-x86-64.so.2')
  got=$("$loader" --library-path "$(dirname "$loader"):$folder/x86_64/driver" --preload "$library" x86_64/probe "$folder/x86_64/driver/libcuda.so.1" 2>&1) || true
  expect "$libc" "$wanted" "$got"
done

got=$("$(find musl -name 'ld-musl-*.so.1')" --preload "$library" /bin/true 2>&1) || true
[[ $got == *"libpartage.so: __register_atfork: symbol not found"* ]] || expect musl "a refusal that names the library" "$got"

fetch libc-aarch64 bookworm arm64 libc6
fetch qemu bookworm amd64 qemu-user-static
build aarch64
rm -f "$usage"
got=$(qemu/usr/bin/qemu-aarch64-static -L "$folder/libc-aarch64" -E LD_PRELOAD="$library_aarch64" -E LD_LIBRARY_PATH="$folder/aarch64/driver" \
  aarch64/probe "$folder/aarch64/driver/libcuda.so.1" 2>&1) || true
expect aarch64 "$wanted" "$got"
echo "glibc 2.31 and 2.41, aarch64, musl: as wanted"

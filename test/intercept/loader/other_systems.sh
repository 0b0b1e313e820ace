#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# other_systems.sh ZIG LIBRARY LIBRARY_AARCH64: libpartage.so on other systems than this one. Debian's libc of 11 (2.31, where dlopen is in libdl) and of 13
# (2.41), and on 64-bit Arm under qemu; musl must refuse it and say why. Ends with 77 and the reason when their packages cannot be had.
set -euo pipefail
zig=$1 library=$2 library_aarch64=$3
source "$(dirname "${BASH_SOURCE[0]}")/systems.sh"

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
for binding in "" 1; do  # lazily, and every symbol at once
  got=$(qemu/usr/bin/qemu-aarch64-static -L "$folder/libc-aarch64" -E LD_PRELOAD="$library_aarch64" -E LD_LIBRARY_PATH="$folder/aarch64/driver" \
    -E LD_BIND_NOW="$binding" aarch64/probe "$folder/aarch64/driver/libcuda.so.1" 2>&1) || true
  expect aarch64 "$wanted" "$got"
done
echo "glibc 2.31 and 2.41, aarch64, musl: as wanted"

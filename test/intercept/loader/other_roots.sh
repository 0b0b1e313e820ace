#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# other_roots.sh ZIG LIBRARY: root file systems of other distributions whose /etc/ld.so.preload names libpartage.so, entered with chroot: Ubuntu 16.04 (glibc
# 2.23) and 18.04 (2.27), Debian 11 (2.31) and 13 (2.41). Their own programs must do there what they do without it, and a program with a driver is held to
# its share. Ends with 77 and the reason when their packages cannot be had, or nobody may make mounts here.
set -euo pipefail
zig=$1 library=$2
source "$(dirname "${BASH_SOURCE[0]}")/systems.sh"

declare -A glibc=([xenial]=2.23 [bionic]=2.27 [bullseye]=2.31 [trixie]=2.41)
base="libc6 bash coreutils libacl1 libattr1 libselinux1 zlib1g"
declare -A packages=(
  [xenial]="$base libpcre3 libtinfo5 perl-base libgmp10"
  [bionic]="$base libpcre3 libtinfo5 perl-base libgmp10"
  [bullseye]="$base libpcre2-8-0 libtinfo6 perl-base libcrypt1 libgmp10"
  [trixie]="$base libpcre2-8-0 libtinfo6 perl-base libcrypt1 libgmp10 libssl3t64 libzstd1"
)

# A day's work of a container without a GPU: processes, pipes, threads of the shell's making, a program that loads libraries while it runs.
work='set -e; /bin/true; seq 1 1000 | sort -rn | head -n 3 | tr "\n" " "; (exit 3) || echo "exit $?"; perl -MPOSIX -e "print floor(7.5), qq{ }; exec q{/bin/echo}, q{replaced}"'

root() {  # root SUITE: unpacked, with the folders that base-files and mounts would give it
  # shellcheck disable=SC2086
  fetch "root-$1" "$1" amd64 ${packages[$1]}
  local name
  for name in bin lib lib64; do [[ -e root-$1/$name ]] || ln -s "usr/$name" "root-$1/$name"; done
  mkdir -p "root-$1/"{etc,mnt,tmp,dev}
}

# Mounts are made in a namespace of its own, so that the unpacked root stays as it is and several checkouts may use it at once.
enter() {  # enter SUITE PRELOADED COMMAND…: in the root, whose /mnt holds the library, the probe and its driver
  local root=$folder/root-$1 preloaded=$2
  shift 2
  # shellcheck disable=SC2016
  "${namespace[@]}" bash -c '
    set -e
    root=$1 library=$2 built=$3 preloaded=$4
    shift 4
    mount -t tmpfs -o mode=0755 tmpfs "$root/mnt"
    mount -t tmpfs tmpfs "$root/tmp"
    cp "$library" "$built/probe" "$built/driver/libcuda.so.1" "$root/mnt"
    mkdir "$root/mnt/etc"
    cp -a "$root/etc/." "$root/mnt/etc"
    mount --bind "$root/mnt/etc" "$root/etc"
    [[ $preloaded != yes ]] || echo /mnt/libpartage.so >"$root/etc/ld.so.preload"
    mount --rbind /dev "$root/dev"
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" "$@"' - "$root" "$library" "$folder/x86_64" "$preloaded" "$@" 2>&1
}

namespace=(unshare --mount)
((EUID == 0)) || namespace=(unshare --user --map-root-user --mount)
"${namespace[@]}" mount -t tmpfs tmpfs /mnt 2>/dev/null || skip "nobody may make mounts here"

for suite in xenial bionic bullseye trixie; do root "$suite"; done
build x86_64
for suite in xenial bionic bullseye trixie; do
  name="$suite, glibc ${glibc[$suite]}"
  [[ -n $(find "root-$suite/" -name "libc-${glibc[$suite]}.so") || $suite == trixie ]] || expect "$name" "its libc" "another"
  bare=$(enter "$suite" no /bin/bash -c "$work") || true
  expect "$name: its own programs, alone" "1000 999 998 exit 3
7 replaced" "$bare"
  expect "$name: its own programs" "$bare" "$(enter "$suite" yes /bin/bash -c "$work")"
  limited=(env LD_LIBRARY_PATH=/mnt CUDA_DEVICE_MEMORY_LIMIT=1g PARTAGE_USAGE=/tmp/usage)
  got=$(enter "$suite" yes "${limited[@]}" /mnt/probe /mnt/libcuda.so.1) || true
  expect "$name: a program with a driver" "$wanted" "$got"
  got=$(enter "$suite" yes "${limited[@]}" LD_BIND_NOW=1 /mnt/probe /mnt/libcuda.so.1) || true
  expect "$name: with every symbol looked up at once" "$wanted" "$got"
done
echo "roots of Ubuntu 16.04 and 18.04, Debian 11 and 13: as wanted"

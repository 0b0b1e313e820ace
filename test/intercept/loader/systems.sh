#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sourced by scripts that run libpartage.so on other systems: packages of theirs are fetched into build/systems and unpacked, not installed. Such a script
# ends with 77 and the reason when they cannot be had.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(cd "$here/../../.." && pwd)/build/systems
mkdir -p "$folder"
cd "$folder"
export ZIG_GLOBAL_CACHE_DIR=$folder/../zig-cache ZIG_LOCAL_CACHE_DIR=$folder/../zig-cache

skip() {
  echo "SKIPPED: $*"
  exit 77
}

source_of() {  # source_of SUITE → a line for apt
  case $1 in
    xenial | bionic) echo "deb [signed-by=$folder/ubuntu-keyring/usr/share/keyrings/ubuntu-archive-keyring.gpg] http://archive.ubuntu.com/ubuntu $1 main" ;;
    *) echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $1 main" ;;
  esac
}

fetch() {  # fetch FOLDER SUITE ARCHITECTURE PACKAGE…: unpacked into FOLDER
  [[ -e $1/complete ]] && return
  [[ $2 != xenial && $2 != bionic ]] || fetch ubuntu-keyring trixie amd64 ubuntu-keyring
  local state=$folder/apt-$2-$3 package
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$1.new"
  source_of "$2" >"$state/sources.list"
  local options=(-qq -o "Dir::Etc::SourceList=$state/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$state/lists"
    -o "Dir::Cache=$state/cache" -o Dir::State::status=/dev/null -o "APT::Architecture=$3" -o "APT::Architectures=$3")
  apt-get "${options[@]}" update >/dev/null 2>&1 || skip "$2 cannot be reached"
  (cd "$1.new" && apt-get "${options[@]}" download "${@:4}" >/dev/null 2>&1) || skip "${*:4} of $2 cannot be downloaded"
  for package in "$1.new/"*.deb; do dpkg-deb --extract "$package" "$1.new"; done
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
  "$zig" cc "${target[@]}" "$1/small_probe.o" -o "$1/probe" -ldl -lpthread
  "$zig" cc "${target[@]}" -shared "$1/toy_driver.o" -Wl,-soname,libcuda.so.1 -o "$1/driver/libcuda.so.1"
}

wanted="name 0 1024 whole
path 0 1024 whole
namespace 0 1024 whole
child 0 1024 whole
ended 0
first over 2 full 0 beyond 2 freed 0
threads were given, refused, within the limit
again over 2 full 0 beyond 2 freed 0"

expect() {  # expect NAME WANTED GOT
  [[ $2 == "$3" ]] && return
  printf '%s: wanted\n%s\nbut got\n%s\n' "$1" "$2" "$3"
  exit 1
}


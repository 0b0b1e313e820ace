#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# fetch_nvidia.sh: NVIDIA's own files for tests that compare with them, into build/nvidia: driver libraries and nvidia-smi of three branches from Debian's
# non-free, headers of CUDA and NVML of three versions from PyPI. They are NVIDIA's: never committed, never shipped. Ends with 77 and the reason when a
# registry does not have them or cannot be reached; what is there already is not fetched again.
#
#   build/nvidia/{470,535,550}/usr/…       as in the packages libcuda1, libnvidia-ml1 and nvidia-smi
#   build/nvidia/headers/{11.8,12.9,13.5}/cuda.h, build/nvidia/headers/nvml{-11.8,,-13.5}/nvml.h
#   build/nvidia/runtime/{11.8,12.9,13.5}/libcudart.so.*
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$PWD/build/nvidia

skip() {
  echo "SKIPPED: $*"
  exit 77
}

# --- Drivers ---

packages=(libcuda1 libnvidia-ml1 nvidia-smi)
declare -A suites=([470]=bullseye [535]=bookworm [550]=trixie)

apt_options() {  # options that keep apt's state below build/
  local state=$folder/apt
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
  printf "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian %s non-free\n" "${suites[@]}" >"$state/sources.list"
  options=(-qq -o "Dir::Etc::SourceList=$state/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$state/lists" -o "Dir::Cache=$state/cache")
}

newest_of_suite() {  # newest_of_suite PACKAGE SUITE → version
  apt-cache "${options[@]}" madison "$1" | awk -F' *[|] *' -v suite="$2/" 'index($3, suite) { print $2; exit }'
}

fetch_driver() {  # fetch_driver BRANCH
  local branch=$1 work version package
  [[ -e $folder/$branch/complete ]] && return
  work=$(mktemp -d "$folder/new.XXXXXX")
  for package in "${packages[@]}"; do
    version=$(newest_of_suite "$package" "${suites[$branch]}")
    [[ -n $version ]] || skip "Debian ${suites[$branch]} has no $package here"
    (cd "$work" && apt-get "${options[@]}" download "$package=$version" >/dev/null 2>&1) || skip "$package $version cannot be downloaded"
  done
  for package in "$work"/*.deb; do dpkg-deb --extract "$package" "$work" && rm "$package"; done
  touch "$work/complete"
  rm -rf "${folder:?}/$branch"
  mv "$work" "$folder/$branch"
}

# --- Headers ---

fetch_wheel() {  # fetch_wheel WHEEL HEADER FOLDER
  [[ -e $folder/headers/$3/$2 ]] && return
  local work
  work=$(mktemp -d "$folder/new.XXXXXX")
  "${pip[@]}" download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$work" "$1" >/dev/null 2>&1 || skip "PyPI does not give $1"
  python3 -m zipfile --extract "$work"/*.whl "$work/files"
  mkdir -p "$folder/headers" "$folder/runtime/$3"
  find "$work/files" -name 'libcudart.so*' -exec mv {} "$folder/runtime/$3/" ';'
  rm -rf "$folder/headers/$3"
  mv "$(dirname "$(find "$work/files" -name "$2")")" "$folder/headers/$3"
  rm -rf "$work"
}

pip=(python3 -m pip)
[[ ! -x build/zig/bin/pip ]] || pip=(build/zig/bin/pip)  # Debian's python3 comes without
mkdir -p "$folder"
apt_options
if [[ ! -e $folder/470/complete || ! -e $folder/535/complete || ! -e $folder/550/complete ]]; then
  apt-get "${options[@]}" update >/dev/null 2>&1 || skip "Debian's non-free cannot be reached"
  for branch in 470 535 550; do fetch_driver "$branch"; done
fi
fetch_wheel nvidia-cuda-runtime-cu11==11.8.89 cuda.h 11.8
fetch_wheel nvidia-cuda-runtime-cu12==12.9.79 cuda.h 12.9
fetch_wheel nvidia-cuda-runtime==13.5.37 cuda.h 13.5
fetch_wheel nvidia-nvml-dev-cu11==11.8.86 nvml.h nvml-11.8
fetch_wheel nvidia-nvml-dev-cu12==12.9.79 nvml.h nvml
fetch_wheel nvidia-nvml-dev==13.5.37 nvml.h nvml-13.5
echo "NVIDIA's files are in build/nvidia"

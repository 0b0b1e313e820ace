#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# need_clients.sh FOLDER PACKAGE==VERSION…: programs of others from PyPI, in a virtual environment there. 77 where the registry has one of them not.
set -euo pipefail
folder=${1:?a folder}
wanted=("${@:2}")

ready() { [[ -f $folder/ready && $(<"$folder/ready") == "${wanted[*]}" ]]; }

mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9  # several builds may test at once
ready && exit
rm -rf "$folder"
python3 -m venv "$folder"
if ! "$folder/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "${wanted[@]}"; then
  echo "skipped: PyPI gave no ${wanted[*]}" >&2
  exit 77
fi
printf '%s' "${wanted[*]}" >"$folder/ready"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds etcd, kube-apiserver and kube-scheduler, at the versions the go.mod files beside this script pin, into build/control-plane/<versions>/.
# Programs already there are not built again. `build.sh --path` only prints that folder.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)

pinned() {  # pinned FOLDER MODULE → the version its go.mod requires
  awk -v module="$2" '$1 == "require" { sub(/^require /, "") } $1 == module && $2 ~ /^v/ { print $2; exit }' "$here/$1/go.mod"
}

kubernetes=$(pinned kube k8s.io/kubernetes)
etcd=$(pinned etcd go.etcd.io/etcd/server/v3)
target="$root/build/control-plane/kubernetes-$kubernetes-etcd-$etcd"

build() {  # build FOLDER PACKAGE LDFLAGS
  local program=${2##*/}
  [[ $program == v3 ]] && program=etcd
  [[ -x $target/$program ]] && return
  echo "building $program: $2 (once; a few minutes from an empty cache)"
  # Written under another name first, so that an interrupted build leaves no half program behind.
  (cd "$here/$1" && CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off go build -ldflags "-s -w $3" -o "$target/.$program" "$2") 2> >(grep -v '^go: downloading' >&2)
  mv "$target/.$program" "$target/$program"
}

kubernetes_version_flags() {  # without them the programs call themselves v0.0.0
  local package=k8s.io/component-base/version numbers
  IFS=. read -ra numbers <<<"${kubernetes#v}"
  echo "-X $package.gitVersion=$kubernetes -X $package.gitMajor=${numbers[0]} -X $package.gitMinor=${numbers[1]}"
}

if [[ ${1:-} == --path ]]; then
  echo "$target"
  exit
fi
mkdir -p "$target"
build etcd go.etcd.io/etcd/server/v3 ""
build kube k8s.io/kubernetes/cmd/kube-apiserver "$(kubernetes_version_flags)"
build kube k8s.io/kubernetes/cmd/kube-scheduler "$(kubernetes_version_flags)"

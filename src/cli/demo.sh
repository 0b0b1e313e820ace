#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The real scheduler on a simulated cluster, and pods sent to it as kube-scheduler would. Needs bash, partage-scheduler and partagectl on PATH.
# usage: demo.sh [--once]     stays up until Ctrl-C, or ends by itself
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cluster=$root/docs/examples/demo-cluster.yaml
pods=$root/docs/examples/demo
once=no
log='' scheduler=''

bold='' dim='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then bold=$'\033[1m' dim=$'\033[2m' plain=$'\033[0m'; fi

die() {
  printf 'demo: %s\n' "$*" >&2
  exit 1
}

chapter() { printf '\n%s▸ %s%s\n%s%s%s\n\n' "$bold" "$1" "$plain" "$dim" "$2" "$plain"; }

stop() {
  trap - EXIT INT TERM
  if [[ -n $scheduler ]]; then
    kill -TERM "$scheduler" 2>/dev/null || true
    wait "$scheduler" 2>/dev/null || true
  fi
  [[ -z $log ]] || rm -f "$log"
}

start() {
  log=$(mktemp)
  partage-scheduler --cluster "sim:$cluster" --listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0 >"$log" 2>&1 &
  scheduler=$!
  local tries
  for ((tries = 0; tries < 100; tries++)); do
    grep -q 'cluster read' "$log" && break
    kill -0 "$scheduler" 2>/dev/null || { cat "$log" >&2; die "partage-scheduler ended at once"; }
    sleep 0.05
  done
  [[ $(<"$log") =~ extender\ on\ ([0-9.]+:[0-9]+),\ metrics\ and\ state\ on\ ([0-9.]+:[0-9]+) ]] || die "partage-scheduler did not say its addresses"
  extender=http://${BASH_REMATCH[1]} server=http://${BASH_REMATCH[2]}
}

submit() { partagectl submit --extender "$extender" --server "$server" "$pods/$1"; }
refused() {
  local code=0
  submit "$1" || code=$?
  ((code == 1)) || die "$1 was meant to be refused"
}

story() {
  chapter "Fractions share a card" "Three notebooks ask for 4 GiB and a fifth of a GPU each, with the policy binpack. They fit on one card, beside a fourth pod."
  submit 1-fractions.yaml

  chapter "Percentages, init containers, replicas" \
    "Half of an L4, whatever its size. An init container of 16 GiB before a server of 6: the pod holds the larger. Replicas spread over nodes."
  submit 2-serving.yaml

  chapter "Whole cards, and cards that belong together" \
    "100 % of the cores is a card of one's own. topology-aware takes four GPUs of one NVLink board; numa-bind takes two of one NUMA node."
  submit 3-training.yaml

  chapter "A mistake is answered with its correction" "gpumem counts MiB; this pod says 16Gi."
  refused 4-wrong.yaml

  chapter "A refusal carries the arithmetic" "All eight A100s of one node, exclusively. Somebody sits on every node."
  refused 5-too-big.yaml

  chapter "Ask why" "partagectl explain tells what every group of nodes lacks, and the smallest change that would help."
  partagectl explain --server "$server" training/foundation

  chapter "A share comes free, and the pod fits" "serving/chat-green ends; its node has eight idle cards again."
  partagectl delete --server "$server" serving/chat-green
  printf '\n'
  submit 5-too-big.yaml

  chapter "The cluster now" "Bars show memory and compute that is given away, by card."
  partagectl state --server "$server"
}

main() {
  if [[ ${1:-} == --once ]]; then once=yes; elif (($#)); then die "usage: demo.sh [--once]"; fi
  command -v partage-scheduler partagectl >/dev/null || die "partage-scheduler and partagectl are not on PATH; ./run demo builds them"
  trap stop EXIT
  trap 'exit 130' INT TERM
  start
  printf '%sPartage%s shares GPUs between pods by the MiB and by the percent.\n' "$bold" "$plain"
  printf 'partage-scheduler runs on a simulated cluster: no Kubernetes, no GPU. Pods reach it over HTTP, as from kube-scheduler.\n'
  story
  printf '\n  metrics  %s/metrics\n  state    %s/debug/state\n  extender %s\n\n' "$server" "$server" "$extender"
  [[ $once == yes ]] && return
  printf '%sTry:%s partagectl submit --extender %s --server %s FILE\nUp until Ctrl-C.\n' "$bold" "$plain" "$extender" "$server"
  wait "$scheduler"
}

main "$@"

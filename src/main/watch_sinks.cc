// SPDX-License-Identifier: Apache-2.0
#include "main/watch_sinks.h"

#include <malloc.h>

#include <utility>

#include "base/log.h"
#include "scheduler/extender/promise.h"
#include "scheduler/state/feed.h"
#include "scheduler/state/quota_feed.h"

namespace partage::app {

void FaultLog::Note(const std::string& what, const std::string& fault) {
  const auto known = faults_.find(what);
  if (fault.empty()) {
    if (known == faults_.end()) return;
    log::info("{}: is well again", what);
    faults_.erase(known);
    return;
  }
  if (known != faults_.end() && known->second == fault) return;
  log::warn("{}: {}", what, fault);
  faults_.insert_or_assign(what, fault);
}

namespace {

// A full read passes hundreds of MB through; what the allocator keeps of it would count as ours until the next one.
void ReturnFreedMemory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace

NodeSink::NodeSink(scheduler::Cluster& cluster, const vendors::Catalog& vendors, std::function<void()> on_synced)
    : cluster_(cluster), vendors_(vendors), on_synced_(std::move(on_synced)) {}

void NodeSink::ReplaceBegin() {
  faults_.Clear();
  cluster_.BeginNodeList();
}

void NodeSink::ReplaceEnd() {
  cluster_.EndNodeList();
  cluster_.Publish();
  on_synced_();
}

void NodeSink::Upsert(k8s::Node&& node) {
  auto observation = scheduler::Observe(node, vendors_);
  faults_.Note("node " + node.name, observation.inventory_error);
  cluster_.ObserveNode(std::move(observation));
}

void NodeSink::Remove(k8s::Node&& last_state) {
  faults_.Forget("node " + last_state.name);
  cluster_.ForgetNode(last_state.name, last_state.resource_version);
}

void NodeSink::Undecodable(k8s::Node&& identity, const Error& error) {
  faults_.Note("node " + identity.name, error.message);
  if (identity.name.empty()) return;
  cluster_.ObserveNode(
      {.name = identity.name, .uid = identity.uid, .resource_version = 0, .inventory = {}, .inventory_error = error.message});
}

void NodeSink::Flush() { cluster_.Publish(); }

PodSink::PodSink(scheduler::Engine& engine, const vendors::Catalog& vendors, std::function<void()> on_synced)
    : engine_(engine), cluster_(engine.cluster()), vendors_(vendors), requests_(vendors), on_synced_(std::move(on_synced)) {}

void PodSink::ReplaceBegin() {
  faults_.Clear();
  engine_.BeginRead();
  cluster_.BeginPodList();
}

void PodSink::ReplaceEnd() {
  engine_.EndRead();
  cluster_.EndPodList();
  cluster_.Publish();
  on_synced_();
  ReturnFreedMemory();
}

void PodSink::Upsert(k8s::Pod&& pod) {
  auto observation = scheduler::Observe(pod, vendors_);
  faults_.Note("pod " + pod.FullName(), observation.allocation_error);
  if (pod.node_name.empty() && !pod.deleting) {
    engine_.SeeWaiting(pod.uid);
  } else {
    engine_.Forget(pod.uid);
  }
  const scheduler::PodRef ref = observation.pod;
  cluster_.ObservePod(std::move(observation));
  const auto promise = pod.annotations.find(scheduler::kPromiseAnnotation);
  const bool ours = promise != pod.annotations.end();
  const std::string& node = ours ? promise->second : pod.nominated_node;
  if (!pod.node_name.empty() || node.empty() || pod.deleting) return;
  // A replica that has just started has seen no filter of this pod, but must keep what another one promised it.
  if (auto request = requests_.Of(pod); request && *request) engine_.Nominated({ref, node, *std::move(request), ours});
}

void PodSink::Remove(k8s::Pod&& last_state) {
  faults_.Forget("pod " + last_state.FullName());
  engine_.Forget(last_state.uid);
  cluster_.ForgetPod({last_state.ns, last_state.name, last_state.uid});
}

// Its share is not given to another: the node is closed until the pod can be read again or is gone.
void PodSink::Undecodable(k8s::Pod&& identity, const Error& error) {
  faults_.Note("pod " + identity.FullName(), error.message);
  if (identity.uid.empty()) return;
  engine_.SeeWaiting(identity.uid);
  cluster_.ObservePod({.pod = {identity.ns, identity.name, identity.uid},
                       .resource_version = 0,
                       .node = identity.node_name,
                       .finished = identity.terminal(),
                       .usage = {},
                       .allocation_error = error.message});
}

void PodSink::Flush() { cluster_.Publish(); }

void QuotaSink::ReplaceBegin() {
  faults_.Clear();
  cluster_.BeginQuotaList();
}

void QuotaSink::Upsert(k8s::ResourceQuota&& quota) {
  auto observation = scheduler::Observe(quota, vendors_);
  faults_.Note("ResourceQuota " + quota.FullName(), observation.error);
  cluster_.ObserveQuota(std::move(observation));
}

void QuotaSink::Remove(k8s::ResourceQuota&& last_state) {
  faults_.Forget("ResourceQuota " + last_state.FullName());
  cluster_.ForgetQuota(last_state.ns, last_state.name);
}

// Whether it limits devices cannot be told, so nothing is handed out until it can.
void QuotaSink::Undecodable(k8s::ResourceQuota&& identity, const Error& error) {
  faults_.Note("ResourceQuota " + identity.FullName(), error.message);
  if (identity.name.empty()) return;
  cluster_.ObserveQuota(
      {.ns = identity.ns, .name = identity.name, .resource_version = 0, .limits = {}, .scopes = {}, .error = error.message});
}

}  // namespace partage::app

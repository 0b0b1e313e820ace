// SPDX-License-Identifier: Apache-2.0
#include "sim/sim_cluster.h"

#include <utility>

#include "scheduler/state/pod_uid.h"

namespace partage::sim {
namespace {

Error NotFound(std::string_view kind, std::string_view name) { return {Code::kNotFound, fmt::format("{} \"{}\" not found", kind, name)}; }

k8s::Pod BoundPod(const k8s::Binding& binding) {
  k8s::Pod pod;
  pod.ns = binding.ns;
  pod.name = binding.name;
  pod.uid = binding.uid;
  pod.node_name = binding.node;
  pod.annotations = binding.annotations;
  pod.phase = "Running";
  return pod;
}

}  // namespace

void SimCluster::Load(SimSpec spec) {
  MutexLock lock(mutex_);
  node_sink_.ReplaceBegin();
  for (k8s::Node& node : spec.nodes) Upsert(std::move(node));
  node_sink_.ReplaceEnd();
  pod_sink_.ReplaceBegin();
  for (k8s::Pod& pod : spec.pods) Upsert(std::move(pod));
  pod_sink_.ReplaceEnd();
}

Result<> SimCluster::WriteBinding(const k8s::Binding& binding) {
  MutexLock lock(mutex_);
  k8s::Pod pod = BoundPod(binding);
  if (const auto known = pods_.find(pod.FullName()); known != pods_.end()) {
    if (known->second.uid != binding.uid) {
      return Fail(Code::kConflict, "pod {} has UID {}, not {}", known->first, known->second.uid, binding.uid);
    }
    return Fail(Code::kConflict, "pod {} is already assigned to node \"{}\"", known->first, known->second.node_name);
  }
  Upsert(std::move(pod));
  pod_sink_.Flush();
  return {};
}

Result<k8s::Pod> SimCluster::GetPod(const std::string& ns, const std::string& name) {
  MutexLock lock(mutex_);
  const auto found = pods_.find(ns + "/" + name);
  if (found == pods_.end()) return Fail(NotFound("pods", ns + "/" + name));
  return found->second;
}

Result<scheduler::ClusterApi::Evicted> SimCluster::Evict(const k8s::Eviction& eviction) {
  {
    MutexLock lock(mutex_);
    const auto found = pods_.find(eviction.ns + "/" + eviction.name);
    if (found == pods_.end() || scheduler::PodUid(found->second.uid) != scheduler::PodUid(eviction.uid)) return Evicted::kGone;
    if (eviction.dry_run) return Evicted::kYes;
  }
  return DeletePod(eviction.ns, eviction.name) ? Evicted::kYes : Evicted::kGone;
}

Result<> SimCluster::AnnotateNode(const std::string& node, const std::string& key, const std::string& value) {
  MutexLock lock(mutex_);
  const auto found = nodes_.find(node);
  if (found == nodes_.end()) return Fail(NotFound("nodes", node));
  k8s::Node changed = found->second;
  changed.annotations.insert_or_assign(key, value);
  Upsert(std::move(changed));
  node_sink_.Flush();
  return {};
}

void SimCluster::PutNode(k8s::Node node) {
  MutexLock lock(mutex_);
  Upsert(std::move(node));
  node_sink_.Flush();
}

Result<> SimCluster::RemoveNode(const std::string& name) {
  MutexLock lock(mutex_);
  auto found = nodes_.extract(name);
  if (!found) return Fail(NotFound("nodes", name));
  found.mapped().resource_version = ++version_;
  node_sink_.Remove(std::move(found.mapped()));
  node_sink_.Flush();
  return {};
}

Result<> SimCluster::DeletePod(const std::string& ns, const std::string& name) {
  MutexLock lock(mutex_);
  auto found = pods_.extract(ns + "/" + name);
  if (!found) return Fail(NotFound("pods", ns + "/" + name));
  found.mapped().resource_version = ++version_;
  pod_sink_.Remove(std::move(found.mapped()));
  pod_sink_.Flush();
  return {};
}

void SimCluster::Upsert(k8s::Node node) {
  node.resource_version = ++version_;
  nodes_.insert_or_assign(node.name, node);
  node_sink_.Upsert(std::move(node));
}

void SimCluster::Upsert(k8s::Pod pod) {
  pod.resource_version = ++version_;
  pods_.insert_or_assign(pod.FullName(), pod);
  pod_sink_.Upsert(std::move(pod));
}

}  // namespace partage::sim

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/mutex.h"
#include "k8s/api/binding.h"
#include "k8s/informer/reflector.h"
#include "scheduler/extender/cluster_api.h"
#include "sim/sim_spec.h"

namespace partage::sim {

/// A cluster without an API server: holds nodes and pods, answers the scheduler's calls with the API server's semantics, and feeds every change to the
/// sinks as a watch would, before the call returns. Time does not pass in it; whoever drives it (a person over HTTP, a test, a trace) decides what
/// happens when. Thread-safe. The sinks must outlive it.
///
/// A pod becomes known when it is bound: until then it is kube-scheduler's business.
class SimCluster final : public scheduler::ClusterApi {
 public:
  SimCluster(k8s::Sink<k8s::Node>& nodes, k8s::Sink<k8s::Pod>& pods) : node_sink_(nodes), pod_sink_(pods) {}

  /// Adds what the description holds, as one full read of nodes and then of pods.
  void Load(SimSpec spec);

  /// Binds: makes the pod known as running on the node, with the Binding's annotations.
  /// kConflict: a pod of that name has another UID, or is bound already.
  Result<> WriteBinding(const k8s::Binding& binding) override;
  Result<k8s::Pod> GetPod(const std::string& ns, const std::string& name) override;
  /// Deletes at once: there are no budgets, and nothing runs.
  Result<Evicted> Evict(const k8s::Eviction& eviction) override;
  Result<> AnnotateNode(const std::string& node, const std::string& key, const std::string& value) override;

  /// Adds a node, or replaces one of that name.
  void PutNode(k8s::Node node);
  /// kNotFound when there is none.
  Result<> RemoveNode(const std::string& name);
  /// Deletes a pod; its shares are free when this returns. kNotFound when there is none.
  Result<> DeletePod(const std::string& ns, const std::string& name);

 private:
  void Upsert(k8s::Node node) PARTAGE_REQUIRES(mutex_);
  void Upsert(k8s::Pod pod) PARTAGE_REQUIRES(mutex_);

  k8s::Sink<k8s::Node>& node_sink_;
  k8s::Sink<k8s::Pod>& pod_sink_;
  Mutex mutex_;
  std::uint64_t version_ PARTAGE_GUARDED_BY(mutex_) = 0;
  std::map<std::string, k8s::Node> nodes_ PARTAGE_GUARDED_BY(mutex_);
  std::map<std::string, k8s::Pod> pods_ PARTAGE_GUARDED_BY(mutex_);  // by "ns/name"
};

}  // namespace partage::sim

// SPDX-License-Identifier: Apache-2.0
// What a watch sees, made into observations of the ledger. The same two sinks serve the API server's reflectors and the simulated cluster.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "k8s/informer/reflector.h"
#include "scheduler/engine/engine.h"
#include "scheduler/extender/pod_request.h"
#include "scheduler/state/cluster.h"
#include "vendors/vendor.h"

namespace partage::app {

/// Says a fault once when it begins or changes, and once when it ends, however often it is observed. Strand-confined.
class FaultLog {
 public:
  /// `what` is "node n1"; an empty fault means all is well.
  void Note(const std::string& what, const std::string& fault);
  void Forget(const std::string& what) { faults_.erase(what); }
  /// A full read follows and will say every fault again.
  void Clear() { faults_.clear(); }

 private:
  std::map<std::string, std::string> faults_;
};

/// Nodes into the ledger. Strand-confined to its reflector's thread. Everything passed in must outlive it.
class NodeSink final : public k8s::Sink<k8s::Node> {
 public:
  /// `on_synced` is called on that thread after every full read, when the ledger shows it.
  NodeSink(scheduler::Cluster& cluster, const vendors::Catalog& vendors, std::function<void()> on_synced);
  void ReplaceBegin() override;
  void ReplaceEnd() override;
  void Upsert(k8s::Node&& node) override;
  void Remove(k8s::Node&& last_state) override;
  void Undecodable(k8s::Node&& identity, const Error& error) override;
  void Flush() override;

 private:
  scheduler::Cluster& cluster_;
  const vendors::Catalog& vendors_;
  std::function<void()> on_synced_;
  FaultLog faults_;
};

/// Pods into the ledger, and out of the engine's memory of waiting pods when they are bound or gone. Strand-confined to its reflector's thread. Everything
/// passed in must outlive it.
class PodSink final : public k8s::Sink<k8s::Pod> {
 public:
  /// `on_synced` as above.
  PodSink(scheduler::Engine& engine, const vendors::Catalog& vendors, std::function<void()> on_synced);
  void ReplaceBegin() override;
  void ReplaceEnd() override;
  void Upsert(k8s::Pod&& pod) override;
  void Remove(k8s::Pod&& last_state) override;
  void Undecodable(k8s::Pod&& identity, const Error& error) override;
  void Flush() override;

 private:
  scheduler::Engine& engine_;
  scheduler::Cluster& cluster_;
  const vendors::Catalog& vendors_;
  const scheduler::PodRequests requests_;
  std::function<void()> on_synced_;
  FaultLog faults_;
};

/// Quotas into the ledger. Strand-confined to its reflector's thread. Everything passed in must outlive it.
class QuotaSink final : public k8s::Sink<k8s::ResourceQuota> {
 public:
  QuotaSink(scheduler::Cluster& cluster, const vendors::Catalog& vendors) : cluster_(cluster), vendors_(vendors) {}
  void ReplaceBegin() override;
  void ReplaceEnd() override { cluster_.EndQuotaList(); }
  void Upsert(k8s::ResourceQuota&& quota) override;
  void Remove(k8s::ResourceQuota&& last_state) override;
  void Undecodable(k8s::ResourceQuota&& identity, const Error& error) override;
  void Flush() override {}

 private:
  scheduler::Cluster& cluster_;
  const vendors::Catalog& vendors_;
  FaultLog faults_;
};

}  // namespace partage::app

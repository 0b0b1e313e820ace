// SPDX-License-Identifier: Apache-2.0
// Metrics computed from the cluster's state when they are asked for. A collector is one file in this folder: its descs, a function, and
// PARTAGE_REGISTER_COLLECTOR. The scrape, docs/metrics.md and the lint find it from there.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/registry.h"
#include "scheduler/state/cluster.h"

namespace partage::metrics {

struct CollectOptions {
  std::size_t device_limit = 5000;            ///< with more devices: no series per node or device, cluster sums only
  bool pod_series = false;                    ///< series that carry pod names; their number is not bounded
  std::function<std::size_t()> waiting_pods;  ///< pods refused by their last filter; empty: not exposed
};

/// One scrape: all collectors see the same state. Used by one thread, for the time of the scrape.
struct CollectContext {
  const scheduler::Cluster& cluster;
  const scheduler::Snapshot& snapshot;
  const scheduler::Cluster::Counts counts;
  const CollectOptions& options;

  /// Whether series per node and device are exposed.
  bool detailed() const { return counts.devices <= options.device_limit; }
};

/// What a collector says of itself.
struct CollectorSpec {
  std::string_view name;           ///< "devices"
  std::string_view summary;        ///< one sentence for docs/metrics.md
  std::vector<const Desc*> descs;  ///< every family it may emit
  /// Emits families, each once at most. Called by several threads at once, on different contexts.
  void (*collect)(const CollectContext& context, const Registry::Sink& emit) = nullptr;
};

/// All collectors linked into the program, by name. Filled before main by PARTAGE_REGISTER_COLLECTOR, read-only after; two of one name abort at start.
class CollectorRegistry {
 public:
  static const std::map<std::string_view, CollectorSpec>& All();
  static bool Register(const CollectorSpec& spec);
};

#define PARTAGE_REGISTER_COLLECTOR(spec) \
  [[maybe_unused]] const bool kRegistered_##spec = ::partage::metrics::CollectorRegistry::Register(spec)

/// From now on every scrape of `registry` runs all collectors over `cluster`, which must outlive it.
void AddCollectors(Registry& registry, const scheduler::Cluster& cluster, CollectOptions options);

}  // namespace partage::metrics

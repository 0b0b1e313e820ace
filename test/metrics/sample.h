// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <prometheus/metric_family.h>

#include "metrics/catalog.h"
#include "metrics/collectors/collector.h"
#include "metrics/registry.h"
#include "test/support/builders.h"
#include "test/support/manual_clock.h"

namespace partage::test {

inline device::Allocation ShareOf(const std::string& node, const std::string& uuid, std::int32_t mib, std::int32_t cores) {
  return {.node = node, .containers = {{.name = "main", .vendor = "nvidia", .shares = {{uuid, mib, cores}}}}};
}

/// A registry over a small cluster with everything in it that metrics tell apart: node n1 with two used devices, n2 with one of each fault,
/// n3 quarantined.
struct SampleMetrics {
  ManualClock clock;
  scheduler::Cluster cluster{clock};
  metrics::Registry registry;

  explicit SampleMetrics(metrics::CollectOptions options = {}) {
    cluster.ObserveNode(Node("n1").Gpu(81920).Gpu(40960, 100, 20).Numa(1).Model("NVIDIA A100-PCIE-40GB"));
    cluster.ObserveNode(Faulty());
    cluster.ObserveNode(Node("n3").Gpu(24576));
    cluster.ObservePod(Bound("pod-a", ShareOf("n1", "n1-gpu0", 8192, 30)));
    cluster.ObservePod(Bound("pod-b", ShareOf("n1", "n1-gpu0", 1024, 0)));
    cluster.ObservePod(Bound("pod-c", ShareOf("n1", "n1-gpu1", 40960, 100)));
    auto unreadable = Bound("pod-d", ShareOf("n3", "n3-gpu0", 1024, 10));
    unreadable.allocation_error = "its allocation cannot be read";
    cluster.ObservePod(unreadable);
    cluster.ObserveQuota({.ns = "ml",
                          .name = "team",
                          .limits = {{"limits.nvidia.com/gpumem", "nvidia", scheduler::QuotaLimit::Of::kMemory, 81920}},
                          .scopes = {},
                          .error = ""});
    cluster.Publish();
    if (!options.waiting_pods) options.waiting_pods = [] { return std::size_t{4}; };
    metrics::AddCollectors(registry, cluster, std::move(options));
  }

  static scheduler::NodeObservation Faulty() {
    scheduler::NodeObservation node = Node("n2").Gpus(3, 24576);
    node.inventory.devices[0].healthy = false;
    node.inventory.devices[1].cordoned = true;
    node.inventory.devices[2].mode = device::Mode::kMig;
    return node;
  }
};

/// Gives every metric of the catalogue a series, each label the value "sample".
inline void TouchCatalog(metrics::Registry& registry) {
  for (const auto* desc : metrics::kCatalog) {
    const std::vector<std::string> values(desc->labels.size(), "sample");
    if (desc->type == metrics::Desc::Type::kCounter) registry.GetCounter(*desc, values).Inc(2);
    if (desc->type == metrics::Desc::Type::kHistogram) registry.GetHistogram(*desc, values).Observe(0.0003);
    if (desc->type == metrics::Desc::Type::kGauge) registry.SetGauge(*desc, 5, values);
  }
}

/// What one collector emits over a cluster.
inline std::vector<prometheus::MetricFamily> Collected(const metrics::CollectorSpec& spec, const scheduler::Cluster& cluster,
                                                       const metrics::CollectOptions& options) {
  const auto snapshot = cluster.snapshot();
  std::vector<prometheus::MetricFamily> families;
  spec.collect({cluster, *snapshot, cluster.counts(), options},
               [&](prometheus::MetricFamily family) { families.push_back(std::move(family)); });
  return families;
}

}  // namespace partage::test

// SPDX-License-Identifier: Apache-2.0

#include "metrics/collectors/collector.h"

#include <prometheus/metric_family.h>

#include "base/check.h"

namespace partage::metrics {
namespace {

std::map<std::string_view, CollectorSpec>& Registered() {
  static std::map<std::string_view, CollectorSpec> specs;
  return specs;
}

}  // namespace

const std::map<std::string_view, CollectorSpec>& CollectorRegistry::All() { return Registered(); }

bool CollectorRegistry::Register(const CollectorSpec& spec) {
  PARTAGE_CHECK(Registered().emplace(spec.name, spec).second, "two collectors have the same name");
  return true;
}

void AddCollectors(Registry& registry, const scheduler::Cluster& cluster, CollectOptions options) {
  registry.AddCollector([&cluster, options = std::move(options)](const Registry::Sink& emit) {
    const auto snapshot = cluster.snapshot();
    const CollectContext context{cluster, *snapshot, cluster.counts(), options};
    for (const auto& [name, spec] : CollectorRegistry::All()) spec.collect(context, emit);
  });
}

}  // namespace partage::metrics

// SPDX-License-Identifier: Apache-2.0
// What each pod was given, under the names HAMi's scheduler uses: the only series that carry pod names.

#include "metrics/collectors/collector.h"
#include "metrics/collectors/family.h"
#include "metrics/collectors/figures.h"
#include "metrics/collectors/walk.h"

namespace partage::metrics {
namespace {

using Type = Desc::Type;

constexpr std::string_view kZone = "vGPU";
constexpr std::string_view kContainerIndex = "0";  // HAMi's too: use is known per pod, not per container
const std::vector<std::string_view> kPod = {"zone", "namespace", "node", "pod", "container_index", "device_uuid"};

const Desc kMemory{Type::kGauge, "hami_vgpu_memory_allocated_bytes", "Memory of a device given to a pod.", kPod, {}};
const Desc kCores{Type::kGauge, "hami_vgpu_core_allocated_ratio", "Compute of a device given to a pod, in percent of a card.", kPod, {}};

template <class Value>
void EmitPods(const CollectContext& context, const Registry::Sink& emit, const Desc& desc, Value value) {
  Family family(desc);
  ForEachNode(context.snapshot, [&](const NodeSample& node) {
    context.cluster.VisitPods(node.info.name, [&](const scheduler::Cluster::PodEntry& pod) {
      for (const auto& [uuid, usage] : pod.usage)
        family.AddGauge(value(usage), {kZone, pod.ns, node.info.name, pod.name, kContainerIndex, uuid});
    });
  });
  emit(family.Take());
}

void Collect(const CollectContext& context, const Registry::Sink& emit) {
  if (!context.options.pod_series) return;
  EmitPods(context, emit, kMemory, [](const device::DeviceUsage& usage) { return usage.mib * kBytesPerMib; });
  EmitPods(context, emit, kCores, [](const device::DeviceUsage& usage) { return usage.cores; });
}

const CollectorSpec kHamiPods{
    .name = "hami_pods",
    .summary = "What each pod was given, under the names HAMi's scheduler uses; only when pod series are switched on.",
    .descs = {&kMemory, &kCores},
    .collect = &Collect};
PARTAGE_REGISTER_COLLECTOR(kHamiPods);

}  // namespace
}  // namespace partage::metrics

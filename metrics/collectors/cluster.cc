// SPDX-License-Identifier: Apache-2.0
// The cluster as a whole: exposed whatever its size.

#include "metrics/collectors/collector.h"
#include "metrics/collectors/family.h"
#include "metrics/collectors/figures.h"
#include "metrics/collectors/walk.h"

namespace partage::metrics {
namespace {

using Type = Desc::Type;

const Desc kNodes{Type::kGauge, "partage_nodes", "Nodes that publish devices.", {}, {}};
const Desc kQuarantined{
    Type::kGauge, "partage_quarantined_nodes", "Nodes that take no new shares until what they publish can be read.", {}, {}};
const Desc kDevices{Type::kGauge, "partage_devices", "Devices of all nodes.", {}, {}};
const Desc kUnschedulable{Type::kGauge,
                          "partage_unschedulable_devices",
                          "Devices that take no new shares, by reason; a device may have several.",
                          {"reason"},
                          {}};
const Desc kOvercommitted{Type::kGauge,
                          "partage_overcommitted_devices",
                          "Devices that have given away more than they have, for instance because they shrank.",
                          {},
                          {}};
const Desc kPods{
    Type::kGauge,
    "partage_pods",
    "Pods that hold shares: nominal (chosen in a filter), claimed (others are evicted for it), reserved (bind in flight) or bound.",
    {"state"},
    {}};
const Desc kWaiting{Type::kGauge, "partage_waiting_pods", "Pods that fitted nowhere when they were last filtered.", {}, {}};
const Desc kDetailed{Type::kGauge,
                     "partage_device_series_enabled",
                     "1 while series per node and device are exposed, 0 when there are too many devices for that.",
                     {},
                     {}};

const Figure kFigures[] = {
    {{Type::kGauge, "partage_cluster_memory_capacity_bytes", "Device memory of all nodes.", {}, {}}, &MemoryCapacity},
    {{Type::kGauge, "partage_cluster_memory_allocated_bytes", "Device memory given to pods.", {}, {}}, &MemoryAllocated},
    {{Type::kGauge, "partage_cluster_compute_capacity_cards", "Compute of all nodes, in whole cards.", {}, {}}, &ComputeCapacity},
    {{Type::kGauge, "partage_cluster_compute_allocated_cards", "Compute given to pods, in whole cards.", {}, {}}, &ComputeAllocated},
    {{Type::kGauge, "partage_cluster_slots_capacity", "Shares that all devices may be cut into.", {}, {}}, &SlotsCapacity},
    {{Type::kGauge, "partage_cluster_slots_allocated", "Shares given to pods.", {}, {}}, &SlotsAllocated},
};

void AddTo(scheduler::Amount& sum, const scheduler::Amount& amount) {
  sum.slots += amount.slots;
  sum.mib += amount.mib;
  sum.cores += amount.cores;
}

void EmitSums(const CollectContext& context, const Registry::Sink& emit) {
  scheduler::Amount total, used;
  ForEachNode(context.snapshot, [&](const NodeSample& node) {
    AddTo(total, node.row.total);
    AddTo(used, node.row.used);
  });
  for (const auto& figure : kFigures) EmitGauge(emit, figure.desc, figure.value(used, total));
}

void EmitPods(const CollectContext& context, const Registry::Sink& emit) {
  Family pods(kPods);
  pods.AddGauge(static_cast<double>(context.counts.nominal), {"nominal"});
  pods.AddGauge(static_cast<double>(context.counts.claimed), {"claimed"});
  pods.AddGauge(static_cast<double>(context.counts.reserved), {"reserved"});
  pods.AddGauge(static_cast<double>(context.counts.pods_bound), {"bound"});
  emit(pods.Take());
  if (context.options.waiting_pods) EmitGauge(emit, kWaiting, static_cast<double>(context.options.waiting_pods()));
}

void EmitUnschedulable(const CollectContext& context, const Registry::Sink& emit) {
  double unhealthy = 0, cordoned = 0, mode = 0, quarantined = 0;
  ForEachDevice(context.snapshot, [&](const DeviceSample& sample) {
    unhealthy += (sample.flags & scheduler::kUnhealthy) != 0;
    cordoned += (sample.flags & scheduler::kCordoned) != 0;
    mode += (sample.flags & scheduler::kNotPlaceable) != 0;
    quarantined += !sample.node_open;
  });
  Family family(kUnschedulable);
  family.AddGauge(unhealthy, {"unhealthy"});
  family.AddGauge(cordoned, {"cordoned"});
  family.AddGauge(mode, {"mode"});
  family.AddGauge(quarantined, {"node_quarantined"});
  emit(family.Take());
}

void Collect(const CollectContext& context, const Registry::Sink& emit) {
  EmitGauge(emit, kNodes, static_cast<double>(context.counts.nodes));
  EmitGauge(emit, kQuarantined, static_cast<double>(context.counts.quarantined_nodes));
  EmitGauge(emit, kDevices, static_cast<double>(context.counts.devices));
  EmitGauge(emit, kOvercommitted, static_cast<double>(context.counts.overcommitted_devices));
  EmitGauge(emit, kDetailed, context.detailed());
  EmitUnschedulable(context, emit);
  EmitPods(context, emit);
  EmitSums(context, emit);
}

const CollectorSpec kCluster{
    .name = "cluster",
    .summary = "The cluster as a whole, whatever its size.",
    .descs = DescsOf(kFigures, {&kNodes, &kQuarantined, &kDevices, &kUnschedulable, &kOvercommitted, &kPods, &kWaiting, &kDetailed}),
    .collect = &Collect};
PARTAGE_REGISTER_COLLECTOR(kCluster);

}  // namespace
}  // namespace partage::metrics

// SPDX-License-Identifier: Apache-2.0

#include "metrics/collectors/collector.h"
#include "metrics/collectors/family.h"
#include "metrics/collectors/figures.h"
#include "metrics/collectors/walk.h"

namespace partage::metrics {
namespace {

using Type = Desc::Type;

const Figure kFigures[] = {
    {{Type::kGauge, "partage_node_memory_capacity_bytes", "Device memory of the node.", {"node"}, {}}, &MemoryCapacity},
    {{Type::kGauge, "partage_node_memory_allocated_bytes", "Device memory of the node given to pods.", {"node"}, {}}, &MemoryAllocated},
    {{Type::kGauge, "partage_node_compute_capacity_cards", "Compute of the node, in whole cards.", {"node"}, {}}, &ComputeCapacity},
    {{Type::kGauge, "partage_node_compute_allocated_cards", "Compute of the node given to pods, in whole cards.", {"node"}, {}},
     &ComputeAllocated},
    {{Type::kGauge, "partage_node_slots_capacity", "Shares that the devices of the node may be cut into.", {"node"}, {}}, &SlotsCapacity},
    {{Type::kGauge, "partage_node_slots_allocated", "Shares of the node given to pods.", {"node"}, {}}, &SlotsAllocated},
};
const Desc kSchedulable{
    Type::kGauge, "partage_node_schedulable", "1 while the node takes new shares, 0 while it is quarantined.", {"node"}, {}};

/// One family over all nodes.
template <class Value>
void EmitNodes(const CollectContext& context, const Registry::Sink& emit, const Desc& desc, Value value) {
  Family family(desc);
  ForEachNode(context.snapshot, [&](const NodeSample& node) { family.AddGauge(value(node.row), {node.info.name}); });
  emit(family.Take());
}

void Collect(const CollectContext& context, const Registry::Sink& emit) {
  using scheduler::NodeRow;
  if (!context.detailed()) return;
  EmitNodes(context, emit, kSchedulable, [](const NodeRow& row) { return row.open ? 1 : 0; });
  for (const auto& figure : kFigures) {
    EmitNodes(context, emit, figure.desc, [&](const NodeRow& row) { return figure.value(row.used, row.total); });
  }
}

const CollectorSpec kNodes{.name = "nodes",
                           .summary = "Each node, while the cluster has no more devices than the limit.",
                           .descs = DescsOf(kFigures, {&kSchedulable}),
                           .collect = &Collect};
PARTAGE_REGISTER_COLLECTOR(kNodes);

}  // namespace
}  // namespace partage::metrics

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "scheduler/state/snapshot.h"

namespace partage::metrics {

/// A node of a snapshot.
struct NodeSample {
  const scheduler::NodeInfo& info;
  const scheduler::NodeRow& row;
};

/// A device of a snapshot.
struct DeviceSample {
  const scheduler::NodeInfo& node;
  const device::Device& device;
  scheduler::Amount used, total;
  std::uint8_t flags;  ///< scheduler::DeviceFlag bits
  bool node_open;

  /// Takes new shares, if they have room.
  bool schedulable() const { return node_open && (flags & ~scheduler::kHeldExclusively) == 0; }
};

/// Visits every node, in name order.
template <class Visit>
void ForEachNode(const scheduler::Snapshot& snapshot, Visit visit) {
  for (const auto id : snapshot.index->ordered()) visit(NodeSample{snapshot.info(id), snapshot.row(id)});
}

/// Visits every device, by node name and then in inventory order.
template <class Visit>
void ForEachDevice(const scheduler::Snapshot& snapshot, Visit visit) {
  for (const auto id : snapshot.index->ordered()) {
    const auto& block = snapshot.block(id);
    const auto& row = snapshot.row(id);
    for (std::uint32_t position = 0; position < row.count; ++position) {
      const auto view = block.View(id % scheduler::kBlockNodes, position);
      visit(DeviceSample{snapshot.info(id), *view.device, view.used, view.total, block.flags[row.first + position], row.open});
    }
  }
}

}  // namespace partage::metrics

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/unordered/unordered_flat_map.hpp>

#include "scheduler/state/snapshot.h"

namespace partage::scheduler {

/// The writer's side of the snapshot: nodes, their blocks (copied before the first change after a publish), and what each device has free.
/// Knows devices and amounts, not pods. Not thread-safe: guarded by Cluster's mutex.
class NodeTable {
 public:
  /// Id of the node with this name, known or new. New ones are absent and without devices.
  NodeId Add(std::string_view name);
  /// kNoNode when there is none.
  NodeId Find(std::string_view name) const;
  const std::string& Name(NodeId id) const { return names_[id]; }
  /// Frees the id for reuse. REQUIRES: absent, nothing used on it.
  void Erase(NodeId id);

  void SetPresent(NodeId id, bool present);
  /// Replaces devices and quarantine. All devices come out unused: Apply the pods' shares again.
  void SetInfo(NodeId id, std::shared_ptr<const NodeInfo> info);
  /// Replaces the quarantine only; uses stay.
  void SetQuarantine(NodeId id, const std::string& reason);
  const NodeInfo& info(NodeId id) const;
  bool present(NodeId id) const { return row(id).present; }

  /// Takes shares off the node's devices (`sign` +1) or gives them back (-1).
  void Apply(NodeId id, std::span<const PositionUsage> shares, int sign);

  const Block& block(NodeId id) const { return *blocks_[id / kBlockNodes]; }
  const NodeRow& row(NodeId id) const { return block(id).rows[id % kBlockNodes]; }
  std::size_t id_limit() const { return names_.size(); }

  /// True when something changed since the last Snapshot.
  bool dirty() const { return dirty_; }
  /// An immutable view of the present state.
  std::shared_ptr<const Snapshot> MakeSnapshot();

 private:
  Block& Mutable(NodeId id);
  std::uint16_t KindOf(const device::Device& device);
  void Resize(Block& block, std::uint32_t row, std::uint32_t count);

  std::vector<std::string> names_;
  boost::unordered_flat_map<std::string, NodeId> ids_;
  std::vector<NodeId> free_ids_;
  std::vector<std::shared_ptr<Block>> blocks_;
  std::vector<bool> owned_;  // block copied since the last snapshot, so that no reader sees it
  std::shared_ptr<const std::vector<DeviceKind>> kinds_ = std::make_shared<std::vector<DeviceKind>>();
  std::shared_ptr<const NodeIndex> index_;
  bool index_stale_ = true;
  bool dirty_ = true;
  std::uint64_t version_ = 0;
};

}  // namespace partage::scheduler

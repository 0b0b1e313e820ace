// SPDX-License-Identifier: Apache-2.0
#include "scheduler/state/node_table.h"

#include <algorithm>

#include "base/check.h"

namespace partage::scheduler {
namespace {

std::shared_ptr<Block> EmptyBlock() {
  auto block = std::make_shared<Block>();
  block->infos = std::make_shared<std::vector<std::shared_ptr<const NodeInfo>>>(kBlockNodes);
  return block;
}

// Replaces `count` elements at `at` by `fresh` zero ones.
template <class T>
void Splice(std::vector<T>& values, std::uint32_t at, std::uint32_t count, std::uint32_t fresh) {
  values.erase(values.begin() + at, values.begin() + at + count);
  values.insert(values.begin() + at, fresh, T{});
}

// Kinds are numbered below this. No real cluster has so many; a hostile inventory's surplus is not placed on.
constexpr std::uint16_t kTooManyKinds = 0xFFFF;

std::uint8_t FlagsOf(const device::Device& device, std::uint16_t kind) {
  const bool placeable = kind != kTooManyKinds && (device.mode == device::Mode::kShared || device.mode == device::Mode::kExclusive);
  return static_cast<std::uint8_t>((device.healthy ? 0 : kUnhealthy) | (device.cordoned ? kCordoned : 0) | (placeable ? 0 : kNotPlaceable));
}

const NodeInfo& NoInfo() {
  static const NodeInfo none;
  return none;
}

}  // namespace

NodeId NodeTable::Find(std::string_view name) const {
  const auto found = ids_.find(std::string(name));
  return found == ids_.end() ? kNoNode : found->second;
}

NodeId NodeTable::Add(std::string_view name) {
  if (const NodeId known = Find(name); known != kNoNode) return known;
  NodeId id = static_cast<NodeId>(names_.size());
  if (!free_ids_.empty()) {
    id = free_ids_.back();
    free_ids_.pop_back();
    names_[id] = name;
  } else {
    names_.emplace_back(name);
    if (id % kBlockNodes == 0) {
      blocks_.push_back(EmptyBlock());
      owned_.push_back(true);
    }
  }
  ids_.emplace(names_[id], id);
  return id;
}

void NodeTable::Erase(NodeId id) {
  PARTAGE_CHECK(!present(id), "an erased node must be absent");
  SetInfo(id, nullptr);
  ids_.erase(names_[id]);
  names_[id].clear();
  free_ids_.push_back(id);
}

Block& NodeTable::Mutable(NodeId id) {
  dirty_ = true;
  auto& block = blocks_[id / kBlockNodes];
  if (!owned_[id / kBlockNodes]) {
    block = std::make_shared<Block>(*block);
    owned_[id / kBlockNodes] = true;
  }
  return *block;
}

void NodeTable::SetPresent(NodeId id, bool is_present) {
  if (present(id) == is_present) return;
  // Whoever reads a present node reads its name: also of one that publishes nothing, as every node without GPUs.
  if (is_present && (*block(id).infos)[id % kBlockNodes] == nullptr) {
    auto named = std::make_shared<NodeInfo>();
    named->name = names_[id];
    SetInfo(id, std::move(named));
  }
  Block& block = Mutable(id);
  NodeRow& row = block.rows[id % kBlockNodes];
  row.present = is_present;
  row.open = is_present && info(id).quarantine.empty();
  index_stale_ = true;
}

const NodeInfo& NodeTable::info(NodeId id) const {
  const auto& info = (*block(id).infos)[id % kBlockNodes];
  return info ? *info : NoInfo();
}

std::uint16_t NodeTable::KindOf(const device::Device& device) {
  const DeviceKind kind{device.vendor, device.model, device.mode};
  const auto found = std::find(kinds_->begin(), kinds_->end(), kind);
  const auto place = static_cast<std::uint16_t>(found - kinds_->begin());
  if (found != kinds_->end()) return place;
  if (kinds_->size() == kTooManyKinds) return kTooManyKinds;
  auto grown = std::make_shared<std::vector<DeviceKind>>(*kinds_);
  grown->push_back(kind);
  kinds_ = std::move(grown);
  return place;
}

void NodeTable::Resize(Block& block, std::uint32_t row, std::uint32_t count) {
  const auto [first, old] = std::pair(block.rows[row].first, block.rows[row].count);
  Splice(block.free_mib, first, old, count);
  Splice(block.free_cores, first, old, count);
  Splice(block.total_mib, first, old, count);
  Splice(block.total_cores, first, old, count);
  Splice(block.free_slots, first, old, count);
  Splice(block.total_slots, first, old, count);
  Splice(block.exclusive_shares, first, old, count);
  Splice(block.kinds, first, old, count);
  Splice(block.flags, first, old, count);
  block.rows[row].count = count;
  for (std::uint32_t r = row + 1; r < kBlockNodes; ++r) block.rows[r].first += count - old;
}

void NodeTable::SetInfo(NodeId id, std::shared_ptr<const NodeInfo> info) {
  Block& block = Mutable(id);
  const std::uint32_t row = id % kBlockNodes;
  const auto devices = info ? info->inventory.devices : std::vector<device::Device>{};
  Resize(block, row, static_cast<std::uint32_t>(devices.size()));
  for (std::uint32_t p = 0; p < devices.size(); ++p) {
    const std::uint32_t d = block.rows[row].first + p;
    block.total_mib[d] = block.free_mib[d] = devices[p].mib;
    block.total_cores[d] = block.free_cores[d] = devices[p].cores;
    block.total_slots[d] = block.free_slots[d] = devices[p].slots;
    block.kinds[d] = KindOf(devices[p]);
    block.flags[d] = FlagsOf(devices[p], block.kinds[d]);
  }
  auto infos = std::make_shared<std::vector<std::shared_ptr<const NodeInfo>>>(*block.infos);
  (*infos)[row] = std::move(info);
  block.infos = std::move(infos);
  block.rows[row].open = block.rows[row].present && this->info(id).quarantine.empty();
  block.RefreshRow(row);
}

void NodeTable::SetQuarantine(NodeId id, const std::string& reason) {
  if (info(id).quarantine == reason) return;
  auto changed = std::make_shared<NodeInfo>(info(id));
  changed->name = names_[id];
  changed->quarantine = reason;
  Block& block = Mutable(id);
  auto infos = std::make_shared<std::vector<std::shared_ptr<const NodeInfo>>>(*block.infos);
  (*infos)[id % kBlockNodes] = std::move(changed);
  block.infos = std::move(infos);
  NodeRow& row = block.rows[id % kBlockNodes];
  row.open = row.present && reason.empty();
}

void NodeTable::Apply(NodeId id, std::span<const PositionUsage> shares, int sign) {
  if (!shares.empty()) Mutable(id).Apply(id % kBlockNodes, shares, sign);
}

std::shared_ptr<const Snapshot> NodeTable::MakeSnapshot() {
  if (index_stale_) {
    std::vector<std::pair<std::string, NodeId>> nodes;
    for (const auto& [name, id] : ids_) {
      if (present(id)) nodes.emplace_back(name, id);
    }
    index_ = std::make_shared<NodeIndex>(std::move(nodes), names_.size());
    index_stale_ = false;
  }
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->version = ++version_;
  snapshot->blocks.assign(blocks_.begin(), blocks_.end());
  snapshot->index = index_;
  snapshot->kinds = kinds_;
  owned_.assign(blocks_.size(), false);
  dirty_ = false;
  return snapshot;
}

}  // namespace partage::scheduler

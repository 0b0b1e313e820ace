// SPDX-License-Identifier: Apache-2.0
// For requeueing, metrics, people and tests.
#include <algorithm>

#include "scheduler/state/cluster_impl.h"

namespace partage::scheduler {
namespace {

using ShareState = Cluster::ShareState;

std::size_t Overcommitted(const Block& block, const NodeRow& row) {
  std::size_t devices = 0;
  for (std::uint32_t d = row.first; d < row.first + row.count; ++d) {
    devices += block.free_slots[d] < 0 || block.free_mib[d] < 0 || block.free_cores[d] < 0 ? 1 : 0;
  }
  return devices;
}

// The claims may be newer than the block, or than the node's devices in it.
std::size_t OvercommittedWithout(const Block& block, NodeId id, std::vector<PositionUsage> claims) {
  const std::uint32_t row = id % kBlockNodes;
  Block only = block.Only(row);
  std::erase_if(claims, [&](const PositionUsage& claim) { return claim.position >= only.rows[row].count; });
  only.Apply(row, claims, -1);
  return Overcommitted(only, only.rows[row]);
}

}  // namespace

std::vector<std::string> Cluster::Impl::TakeFreedNodes() {
  MutexLock lock(mutex_);
  std::vector<std::string> names;
  for (const NodeId id : freed_) {
    nodes_[id].freed = false;
    if (table_.present(id)) names.push_back(table_.Name(id));
  }
  freed_.clear();
  std::sort(names.begin(), names.end());
  return names;
}

Cluster::Counts Cluster::Impl::counts() const {
  Counts counts;
  std::map<NodeId, std::vector<PositionUsage>> claims;
  {
    MutexLock lock(mutex_);
    counts.reserved = reserved_.size();
    counts.pods_bound = pods_.size() - nominal_.size() - counts.reserved;
    for (const auto& [uid, held] : nominal_) {
      const PodRecord& record = *pods_.Find(uid);
      ++(record.state == ShareState::kClaimed ? counts.claimed : counts.nominal);
      if (record.state == ShareState::kClaimed)
        claims[record.node].insert(claims[record.node].end(), record.shares.begin(), record.shares.end());
    }
  }
  const auto now = snapshot();
  counts.nodes = now->index->size();
  for (const NodeId id : now->index->ordered()) {
    const Block& block = now->block(id);
    const NodeRow& row = now->row(id);
    counts.devices += row.count;
    counts.quarantined_nodes += row.open ? 0 : 1;
    const auto claimed = claims.find(id);
    counts.overcommitted_devices += claimed == claims.end() ? Overcommitted(block, row) : OvercommittedWithout(block, id, claimed->second);
  }
  return counts;
}

void Cluster::Impl::VisitPods(std::string_view node, const std::function<void(const PodEntry&)>& visit) const {
  MutexLock lock(mutex_);
  const NodeId id = table_.Find(node);
  if (id == kNoNode) return;
  for (const PodRecord* pod = pods_.First(id); pod != nullptr; pod = pods_.Next(*pod)) {
    visit({pod->name.ns(), pod->name.name(), pod->uid, pod->state, UsageOf(*pod), pod->trouble ? std::string_view(pod->trouble->error) : "",
           pod->priority});
  }
}

Result<> Cluster::Impl::CheckNode(NodeId id) const {
  const Block& block = table_.block(id);
  const NodeRow& row = table_.row(id);
  std::vector<Amount> used(row.count);
  std::vector<std::int32_t> exclusive(row.count);
  std::uint32_t troubled = 0;
  for (const PodRecord* pod = pods_.First(id); pod != nullptr; pod = pods_.Next(*pod)) {
    troubled += pod->trouble ? 1 : 0;
    for (const auto& [position, usage] : pod->shares) {
      used[position].slots += usage.slots;
      used[position].mib += usage.mib;
      used[position].cores += usage.cores;
      exclusive[position] += usage.exclusive ? 1 : 0;
    }
  }
  if (id < nodes_.size() && troubled != nodes_[id].troubled_pods)
    return Fail(Code::kInternal, "node {}: troubled pods miscounted", table_.Name(id));
  for (std::uint32_t p = 0; p < row.count; ++p) {
    const DeviceView view = block.View(id % kBlockNodes, p);
    if (!(view.used == used[p]) || block.exclusive_shares[row.first + p] != exclusive[p]) {
      return Fail(Code::kInternal, "node {} device {}: {} MiB, {} cores, {} slots booked, pods hold {}, {}, {}", table_.Name(id), p,
                  view.used.mib, view.used.cores, view.used.slots, used[p].mib, used[p].cores, used[p].slots);
    }
  }
  if (const auto& info = (*block.infos)[id % kBlockNodes]; row.present && (info == nullptr || info->name != table_.Name(id))) {
    return Fail(Code::kInternal, "node {}: present without its name", table_.Name(id));
  }
  Block copy = block;
  copy.RefreshRow(id % kBlockNodes);
  const NodeRow& fresh = copy.rows[id % kBlockNodes];
  if (!(fresh.used == row.used) || !(fresh.total == row.total) || fresh.open_devices != row.open_devices ||
      fresh.max_free_mib != row.max_free_mib || fresh.max_free_cores != row.max_free_cores) {
    return Fail(Code::kInternal, "node {}: its sums differ from its devices", table_.Name(id));
  }
  return {};
}

Result<> Cluster::Impl::CheckInvariants() const {
  MutexLock lock(mutex_);
  std::size_t listed = 0;
  for (NodeId id = 0; id < table_.id_limit(); ++id) {
    if (auto ok = CheckNode(id); !ok) return ok;
    for (const PodRecord* pod = pods_.First(id); pod != nullptr; pod = pods_.Next(*pod)) ++listed;
  }
  const auto held_for_later = [](ShareState state) { return state == ShareState::kNominal || state == ShareState::kClaimed; };
  if (listed != pods_.size()) return Fail(Code::kInternal, "{} pods by node, {} by UID", listed, pods_.size());
  std::size_t nominal = 0, reserved = 0;
  for (const PodUid& uid : pods_.Uids()) {
    const ShareState state = pods_.Find(uid)->state;
    nominal += held_for_later(state) ? 1 : 0;
    reserved += state == ShareState::kReserved ? 1 : 0;
    if (held_for_later(state) != nominal_.contains(uid) || (state == ShareState::kReserved) != reserved_.contains(uid)) {
      return Fail(Code::kInternal, "pod {}: its state and the list of held shares disagree", uid.ToString());
    }
  }
  if (nominal != nominal_.size() || reserved != reserved_.size()) return Fail(Code::kInternal, "held shares without a pod");
  return {};
}

std::string_view ToString(Cluster::ShareState state) {
  switch (state) {
    case Cluster::ShareState::kNominal: return "nominal";
    case Cluster::ShareState::kClaimed: return "claimed";
    case Cluster::ShareState::kReserved: return "reserved";
    case Cluster::ShareState::kBound: return "bound";
  }
  return "unknown";
}

}  // namespace partage::scheduler

// SPDX-License-Identifier: Apache-2.0
// What watches say of nodes.
#include <algorithm>

#include "scheduler/state/cluster_impl.h"

namespace partage::scheduler {
namespace {

constexpr std::size_t kForgottenNodesRemembered = 16384;

}  // namespace

Cluster::Impl::Node& Cluster::Impl::NodeOf(NodeId id) {
  if (nodes_.size() <= id) nodes_.resize(id + 1);
  return nodes_[id];
}

NodeId Cluster::Impl::Open(std::string_view name) {
  const NodeId id = table_.Find(name);
  return id != kNoNode && table_.present(id) ? id : kNoNode;
}

void Cluster::Impl::ObserveNode(NodeObservation seen) {
  MutexLock lock(mutex_);
  if (const auto gone = forgotten_nodes_.find(seen.name); gone != forgotten_nodes_.end()) {
    if (Older(seen.resource_version, gone->second)) return;
    forgotten_nodes_.erase(gone);
  }
  const NodeId id = table_.Add(seen.name);
  Node& node = NodeOf(id);
  if (Older(seen.resource_version, node.resource_version)) {
    if (table_.present(id)) node.touched = ++sequence_;
    return;
  }
  node.resource_version = seen.resource_version;
  node.touched = ++sequence_;
  node.inventory_error = seen.inventory_error;
  table_.SetPresent(id, true);
  if (seen.inventory_error.empty() && !(seen.inventory == table_.info(id).inventory)) SetInventory(id, std::move(seen.inventory));
  RefreshQuarantine(id);
}

void Cluster::Impl::SetInventory(NodeId id, device::NodeInventory inventory) {
  std::vector<std::pair<PodUid, std::vector<device::UuidUsage>>> shares;
  for (const PodRecord* pod = pods_.First(id); pod != nullptr; pod = pods_.Next(*pod)) shares.emplace_back(pod->uid, UsageOf(*pod));
  auto info = std::make_shared<NodeInfo>();
  info->name = table_.Name(id);
  info->inventory = std::move(inventory);
  info->quarantine = table_.info(id).quarantine;
  table_.SetInfo(id, std::move(info));
  nodes_[id].troubled_pods = 0;
  for (auto& [uid, usage] : shares) {
    PodRecord& record = *pods_.Find(uid);
    const std::string error = record.trouble ? record.trouble->error : "";
    record.shares.clear();
    Match(record, usage, error);
  }
  MarkFreed(id);
}

void Cluster::Impl::MarkFreed(NodeId id) {
  if (nodes_[id].freed) return;
  nodes_[id].freed = true;
  freed_.push_back(id);
}

void Cluster::Impl::RefreshQuarantine(NodeId id) {
  std::string reason;
  if (!nodes_[id].inventory_error.empty()) {
    reason = fmt::format("its inventory cannot be read: {}", nodes_[id].inventory_error);
  } else if (nodes_[id].troubled_pods > 0) {
    const PodRecord* pod = pods_.First(id);
    while (!pod->trouble) pod = pods_.Next(*pod);
    reason =
        fmt::format("pod {}/{} {}", pod->name.ns(), pod->name.name(),
                    pod->trouble->error.empty() ? fmt::format("holds a share of unknown device {}", pod->trouble->unmatched.front().uuid)
                                                : fmt::format("holds devices nobody can name: {}", pod->trouble->error));
  }
  if (reason.empty() && !table_.info(id).quarantine.empty()) MarkFreed(id);
  table_.SetQuarantine(id, reason);
}

// The node object is gone. Its pods go by their own events; until then the node is kept, absent.
void Cluster::Impl::Vanish(NodeId id) {
  table_.SetPresent(id, false);
  DropIfEmpty(id);
}

void Cluster::Impl::DropIfEmpty(NodeId id) {
  if (table_.present(id) || pods_.First(id) != nullptr) return;
  const std::string name = table_.Name(id);
  if (nodes_[id].resource_version != 0) {
    if (forgotten_nodes_.size() >= kForgottenNodesRemembered) forgotten_nodes_.erase(forgotten_nodes_.begin());
    forgotten_nodes_[name] = nodes_[id].resource_version;
  }
  std::erase(freed_, id);
  nodes_[id] = {};
  table_.Erase(id);
}

void Cluster::Impl::ForgetNode(std::string_view name, std::uint64_t version) {
  MutexLock lock(mutex_);
  const NodeId id = table_.Find(name);
  if (id == kNoNode) {
    if (version != 0) forgotten_nodes_[std::string(name)] = version;
    return;
  }
  if (Older(version, nodes_[id].resource_version)) return;
  nodes_[id].resource_version = std::max(version, nodes_[id].resource_version);
  Vanish(id);
}

void Cluster::Impl::BeginNodeList() {
  MutexLock lock(mutex_);
  node_list_began_ = ++sequence_;
}

void Cluster::Impl::EndNodeList() {
  MutexLock lock(mutex_);
  for (NodeId id = 0; id < nodes_.size(); ++id) {
    if (table_.present(id) && nodes_[id].touched < node_list_began_) Vanish(id);
  }
}

}  // namespace partage::scheduler

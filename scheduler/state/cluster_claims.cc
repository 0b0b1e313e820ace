// SPDX-License-Identifier: Apache-2.0
// Claims: room held for a pod while others are evicted from it.
#include "scheduler/state/cluster_impl.h"

namespace partage::scheduler {
namespace {

using ShareState = Cluster::ShareState;

}  // namespace

bool Cluster::Impl::IsClaimed(const PodUid& uid) const {
  const PodRecord* record = pods_.Find(uid);
  return record != nullptr && record->state == ShareState::kClaimed;
}

// The pod's claim, to be put back if nothing better comes of it. nullopt where it cannot be: its node is gone.
std::optional<Cluster::Impl::Held> Cluster::Impl::TakeClaim(const PodUid& uid) {
  if (!IsClaimed(uid)) return std::nullopt;
  Held held = nominal_.at(uid);
  if (!table_.present(pods_.Find(uid)->node)) return std::nullopt;
  return held;
}

// The node as it will be: without those who are asked to leave, and those who are leaving already.
Result<Block> Cluster::Impl::WithoutLeaving(NodeId id, std::span<const PodUid> leaving) const {
  const std::uint32_t row = id % kBlockNodes;
  Block later = table_.block(id).Only(row);
  for (const PodUid& uid : leaving) {
    const PodRecord* record = pods_.Find(uid);
    if (record == nullptr || record->node != id) {
      return Fail(Code::kConflict, "pod {} holds no share of node {} any more", uid.ToString(), table_.Name(id));
    }
    if (!record->terminating) later.Apply(row, record->shares, -1);
  }
  for (const PodRecord* pod = pods_.First(id); pod != nullptr; pod = pods_.Next(*pod)) {
    if (pod->terminating) later.Apply(row, pod->shares, -1);
  }
  return later;
}

Result<> Cluster::Impl::Claim(const PodRef& pod, std::string_view node, std::chrono::milliseconds ttl, std::span<const PodUid> leaving,
                              const Placer& place, const device::QuotaTraits& traits) {
  MutexLock lock(mutex_);
  const PodUid uid(pod.uid);
  if (auto free = RefuseIfHeld(pod, uid); !free) return free;
  Remove(uid);
  const NodeId id = Open(node);
  auto later = id == kNoNode ? Result<Block>(Fail(Code::kNotFound, "node {} does not exist", node)) : WithoutLeaving(id, leaving);
  auto allocation = later ? Place(pod, id, *later, place, traits) : Result<device::Allocation>(Fail(later.error()));
  if (allocation) Hold(pod, id, ShareState::kClaimed, {std::move(*allocation), clock_.Now() + ttl, traits});
  PublishLocked();
  return allocation ? Result<>() : Result<>(Fail(allocation.error()));
}

bool Cluster::Impl::RenewClaim(const PodRef& pod, std::chrono::milliseconds ttl) {
  MutexLock lock(mutex_);
  const PodUid uid(pod.uid);
  if (!IsClaimed(uid)) return false;
  nominal_.at(uid).until = clock_.Now() + ttl;
  return true;
}

void Cluster::Impl::DropClaim(const PodRef& pod) {
  MutexLock lock(mutex_);
  const PodUid uid(pod.uid);
  if (!IsClaimed(uid)) return;
  Remove(uid);
  PublishLocked();
}

std::optional<std::string> Cluster::Impl::ClaimedNode(const PodRef& pod) const {
  MutexLock lock(mutex_);
  const PodUid uid(pod.uid);
  if (!IsClaimed(uid)) return std::nullopt;
  return table_.Name(pods_.Find(uid)->node);
}

// Ripe: without the claim, its own share would fit.
bool Cluster::Impl::RipeClaimOn(NodeId id) const {
  const std::uint32_t row = id % kBlockNodes;
  for (const PodRecord* pod = pods_.First(id); pod != nullptr; pod = pods_.Next(*pod)) {
    if (pod->state != ShareState::kClaimed) continue;
    Block without = table_.block(id).Only(row);
    without.Apply(row, pod->shares, -1);
    if (without.rows[row].open && without.CanTake(row, pod->shares)) return true;
  }
  return false;
}

std::optional<std::string> Cluster::Impl::NodeWithRipeClaim(std::span<const std::string> nodes) const {
  MutexLock lock(mutex_);
  if (nominal_.empty()) return std::nullopt;
  for (const std::string& node : nodes) {
    const NodeId id = table_.Find(node);
    if (id != kNoNode && table_.present(id) && RipeClaimOn(id)) return node;
  }
  return std::nullopt;
}

void Cluster::Impl::NoteEvicted(const PodUid& uid) {
  MutexLock lock(mutex_);
  if (PodRecord* record = pods_.Find(uid); record != nullptr) record->terminating = true;
}

std::optional<Cluster::Tenancy> Cluster::Impl::Inspect(std::string_view node) const {
  MutexLock lock(mutex_);
  const NodeId id = table_.Find(node);
  if (id == kNoNode || !table_.present(id)) return std::nullopt;
  Tenancy tenancy{table_.block(id).Only(id % kBlockNodes), id % kBlockNodes, {}};
  for (const PodRecord* pod = pods_.First(id); pod != nullptr; pod = pods_.Next(*pod)) {
    // Not from a temporary: gcc -O3 takes its shares for longer than they are.
    Tenant& tenant = tenancy.tenants.emplace_back();
    tenant.uid = pod->uid;
    tenant.priority = pod->priority;
    tenant.created = pod->created;
    tenant.state = pod->state;
    tenant.terminating = pod->terminating;
    tenant.troubled = pod->trouble != nullptr;
    tenant.shares.assign(pod->shares.begin(), pod->shares.end());
  }
  return tenancy;
}

std::optional<PodRef> Cluster::Impl::Who(const PodUid& uid) const {
  MutexLock lock(mutex_);
  const PodRecord* record = pods_.Find(uid);
  if (record == nullptr) return std::nullopt;
  return RefOf(*record);
}

}  // namespace partage::scheduler

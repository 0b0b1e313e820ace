// SPDX-License-Identifier: Apache-2.0
// Nominal shares and reservations.
#include "scheduler/state/cluster_impl.h"

namespace partage::scheduler {
namespace {

using ShareState = Cluster::ShareState;

std::string WhereBound(const PodRef& pod, const std::string& node, ShareState state) {
  return fmt::format("pod {}: {} on node {}", pod.FullName(), state == ShareState::kBound ? "already bound" : "a bind is in flight", node);
}

}  // namespace

Result<> Cluster::Impl::RefuseIfHeld(const PodRef& pod, const PodUid& uid) const {
  if (pods_.buried(uid)) return Fail(Code::kNotFound, "pod {} is finished or deleted", pod.FullName());
  const PodRecord* record = pods_.Find(uid);
  if (record != nullptr && !nominal_.contains(uid)) {
    return Fail(Code::kConflict, "{}", WhereBound(pod, table_.Name(record->node), record->state));
  }
  return {};
}

// Asks the placer and checks its answer: whatever a policy does, no device is given out beyond its capacity.
Result<device::Allocation> Cluster::Impl::Place(const PodRef& pod, NodeId id, const Block& block, const Placer& place,
                                                const device::QuotaTraits& traits) const {
  auto allocation = place(block, id % kBlockNodes);
  if (!allocation) return Fail(allocation.error());
  std::vector<PositionUsage> shares;
  for (const auto& [uuid, usage] : device::CollapseUsage(*allocation)) {
    const std::int32_t position = table_.info(id).inventory.Find(uuid);
    if (position < 0) return Fail(Code::kInternal, "pod {}: placed on unknown device {} of node {}", pod.FullName(), uuid, table_.Name(id));
    shares.push_back({static_cast<std::uint32_t>(position), usage});
  }
  if (!block.rows[id % kBlockNodes].open || !block.CanTake(id % kBlockNodes, shares)) {
    return Fail(Code::kInternal, "pod {}: placed beyond the capacity of node {}", pod.FullName(), table_.Name(id));
  }
  if (const auto over = OverQuota(pod.ns, traits, *allocation)) return Fail(Code::kInvalid, "{}", *over);
  return allocation;
}

std::optional<std::string> Cluster::Impl::OverQuota(std::string_view ns, const device::QuotaTraits& traits,
                                                    const device::Allocation& allocation) const {
  if (!quotas_.Limits(ns)) return std::nullopt;
  return quotas_.Refusal(ns, traits, device::UsageByVendor(allocation));
}

std::optional<std::string> Cluster::Impl::QuotaRefusal(std::string_view ns, const device::QuotaTraits& traits,
                                                       const device::Allocation& allocation) const {
  MutexLock lock(mutex_);
  return OverQuota(ns, traits, allocation);
}

Result<> Cluster::Impl::Nominate(const PodRef& pod, std::string_view node, std::chrono::milliseconds ttl, const Placer& place,
                                 const device::QuotaTraits& traits) {
  MutexLock lock(mutex_);
  const PodUid uid(pod.uid);
  if (auto free = RefuseIfHeld(pod, uid); !free) return free;
  const auto claim = TakeClaim(uid);
  Remove(uid);
  const NodeId id = Open(node);
  auto allocation =
      id == kNoNode ? Result<device::Allocation>(Fail(Code::kNotFound, "node {} does not exist", node)) : Place(pod, id, place, traits);
  if (allocation) {
    Hold(pod, id, ShareState::kNominal, {std::move(*allocation), clock_.Now() + ttl, traits});
  } else if (claim) {
    Hold(pod, Open(claim->allocation.node), ShareState::kClaimed, *claim);
  }
  PublishLocked();
  return allocation ? Result<>() : Result<>(Fail(allocation.error()));
}

void Cluster::Impl::DropNominal(const PodRef& pod) {
  MutexLock lock(mutex_);
  const PodUid uid(pod.uid);
  if (!nominal_.contains(uid) || IsClaimed(uid)) return;
  Remove(uid);
  PublishLocked();
}

std::optional<std::string> Cluster::Impl::NominalNode(const PodRef& pod) const {
  MutexLock lock(mutex_);
  const auto found = nominal_.find(PodUid(pod.uid));
  if (found == nominal_.end()) return std::nullopt;
  return found->second.allocation.node;
}

std::size_t Cluster::Impl::ExpireNominals() {
  MutexLock lock(mutex_);
  std::vector<PodUid> over;
  for (const auto& [uid, held] : nominal_) {
    if (held.until <= clock_.Now()) over.push_back(uid);
  }
  for (const PodUid& uid : over) Remove(uid);
  PublishLocked();
  return over.size();
}

Result<Reservation> Cluster::Impl::Reserve(Cluster& owner, const PodRef& pod, std::string_view node, const Placer& place,
                                           const device::QuotaTraits& traits) {
  MutexLock lock(mutex_);
  const PodUid uid(pod.uid);
  if (auto free = RefuseIfHeld(pod, uid); !free) return Fail(free.error());
  const NodeId id = Open(node);
  std::optional<device::Allocation> kept;
  if (const auto nominal = nominal_.find(uid); nominal != nominal_.end() && nominal->second.allocation.node == node) {
    kept = nominal->second.allocation;
  }
  PodRef named = pod;  // a bind call does not say the priority
  if (const PodRecord* record = pods_.Find(uid); record != nullptr) named.priority = record->priority;
  Remove(uid);
  if (id == kNoNode) {
    PublishLocked();
    return Fail(Code::kNotFound, "node {} does not exist", node);
  }
  // The devices of the nominal share are free again, for us alone: nobody can have come between. They may have become unhealthy, so ask.
  auto allocation = kept ? Place(
                               pod, id, [&](const Block&, std::uint32_t) { return Result<device::Allocation>(*kept); }, traits)
                         : Result<device::Allocation>(Fail(Code::kNotFound, "no nominal share"));
  if (!allocation) allocation = Place(pod, id, place, traits);
  if (allocation) {
    PodRecord& record = Put(named, id, ShareState::kReserved, device::CollapseUsage(*allocation), "", 0);
    record.charge = quotas_.Take(uid, pod.ns, traits, device::UsageByVendor(*allocation));
    reserved_[uid] = {*allocation, {}, traits};
  }
  PublishLocked();
  if (!allocation) return Fail(allocation.error());
  return Reservation(owner, pod, std::move(*allocation), table_.info(id).inventory.dialect);
}

std::optional<std::string> Cluster::Impl::QuotaRefusal(std::string_view ns, const device::PodRequest& request) const {
  MutexLock lock(mutex_);
  if (!quotas_.Limits(ns)) return std::nullopt;
  return quotas_.Refusal(ns, request.quota_traits, device::LeastUsageByVendor(request));
}

std::optional<std::string> Cluster::Impl::QuotaRefusalAlone(std::string_view ns, const device::PodRequest& request) const {
  MutexLock lock(mutex_);
  return quotas_.RefusalAlone(ns, device::LeastUsageByVendor(request));
}

bool Cluster::Impl::StillFits(const PodRef& pod) {
  MutexLock lock(mutex_);
  const PodUid uid(pod.uid);
  const auto found = reserved_.find(uid);
  PodRecord* record = pods_.Find(uid);
  if (found == reserved_.end() || record == nullptr) return false;
  const Held& held = found->second;
  const std::uint32_t row = record->node % kBlockNodes;
  Block others = table_.block(record->node).Only(row);
  others.Apply(row, {record->shares.begin(), record->shares.end()}, -1);
  quotas_.GiveBack(uid, record->charge);
  const auto again = [&](const Block&, std::uint32_t) { return Result<device::Allocation>(held.allocation); };
  const bool fits = Place(pod, record->node, others, again, held.traits).has_value();
  record->charge = quotas_.Take(uid, pod.ns, held.traits, device::UsageByVendor(held.allocation));
  return fits;
}

std::optional<device::Allocation> Cluster::Impl::InFlight(const PodRef& pod) const {
  MutexLock lock(mutex_);
  const auto found = reserved_.find(PodUid(pod.uid));
  if (found == reserved_.end()) return std::nullopt;
  return found->second.allocation;
}

void Cluster::Impl::Settle(const PodRef& pod, bool bound) {
  MutexLock lock(mutex_);
  const PodUid uid(pod.uid);
  PodRecord* record = pods_.Find(uid);
  if (record == nullptr || record->state != ShareState::kReserved) return;
  if (bound) {
    record->state = ShareState::kBound;
    record->touched = ++sequence_;
    reserved_.erase(uid);
    doubtful_.push_back(uid);
  } else {
    Remove(uid);
    PublishLocked();
  }
}

void Cluster::Impl::Hold(const PodRef& pod, NodeId id, ShareState state, Held held) {
  PodRecord& record = Put(pod, id, state, device::CollapseUsage(held.allocation), "", 0);
  record.charge = quotas_.Take(record.uid, pod.ns, held.traits, device::UsageByVendor(held.allocation));
  nominal_[PodUid(pod.uid)] = std::move(held);
}

}  // namespace partage::scheduler

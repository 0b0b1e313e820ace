// SPDX-License-Identifier: Apache-2.0
// Inside of Cluster, for scheduler/state/cluster*.cc only.
#pragma once

#include <atomic>
#include <limits>
#include <map>
#include <unordered_map>

#include "base/mutex.h"
#include "scheduler/state/cluster.h"
#include "scheduler/state/node_table.h"
#include "scheduler/state/pod_ledger.h"

namespace partage::scheduler {

/// Older than what is known, by the API server's own counter; 0 is "unknown" and never older.
inline bool Older(std::uint64_t version, std::uint64_t known) { return version != 0 && known != 0 && version < known; }

class Cluster::Impl {
 public:
  explicit Impl(const Clock& clock) : clock_(clock), published_(table_.MakeSnapshot()) {}

  std::shared_ptr<const Snapshot> snapshot() const {
    MutexLock lock(published_mutex_);
    return published_;
  }

  void ObserveNode(NodeObservation node) PARTAGE_EXCLUDES(mutex_);
  void ForgetNode(std::string_view name, std::uint64_t version) PARTAGE_EXCLUDES(mutex_);
  void ObservePod(PodObservation pod) PARTAGE_EXCLUDES(mutex_);
  void ForgetPod(const PodRef& pod) PARTAGE_EXCLUDES(mutex_);
  void BeginNodeList() PARTAGE_EXCLUDES(mutex_);
  void EndNodeList() PARTAGE_EXCLUDES(mutex_);
  void BeginPodList() PARTAGE_EXCLUDES(mutex_);
  void EndPodList() PARTAGE_EXCLUDES(mutex_);
  Doubts DoubtfulPods() PARTAGE_EXCLUDES(mutex_);
  void ConfirmPod(const PodRef& pod, std::uint64_t list) PARTAGE_EXCLUDES(mutex_);
  void Publish() PARTAGE_EXCLUDES(mutex_);

  void ObserveQuota(QuotaObservation quota) PARTAGE_EXCLUDES(mutex_);
  void ForgetQuota(std::string_view ns, std::string_view name) PARTAGE_EXCLUDES(mutex_);
  void BeginQuotaList() PARTAGE_EXCLUDES(mutex_);
  void EndQuotaList() PARTAGE_EXCLUDES(mutex_);

  Result<> Nominate(const PodRef& pod, std::string_view node, std::chrono::milliseconds ttl, const Placer& place,
                    const device::QuotaTraits& traits) PARTAGE_EXCLUDES(mutex_);
  void DropNominal(const PodRef& pod) PARTAGE_EXCLUDES(mutex_);
  std::optional<std::string> NominalNode(const PodRef& pod) const PARTAGE_EXCLUDES(mutex_);
  std::size_t ExpireNominals() PARTAGE_EXCLUDES(mutex_);
  Result<Reservation> Reserve(Cluster& owner, const PodRef& pod, std::string_view node, const Placer& place,
                              const device::QuotaTraits& traits) PARTAGE_EXCLUDES(mutex_);
  std::optional<std::string> QuotaRefusal(std::string_view ns, const device::PodRequest& request) const PARTAGE_EXCLUDES(mutex_);
  std::optional<std::string> QuotaRefusalAlone(std::string_view ns, const device::PodRequest& request) const PARTAGE_EXCLUDES(mutex_);
  std::optional<std::string> QuotaRefusal(std::string_view ns, const device::QuotaTraits& traits,
                                          const device::Allocation& allocation) const PARTAGE_EXCLUDES(mutex_);
  std::optional<std::string> OverQuota(std::string_view ns, const device::QuotaTraits& traits, const device::Allocation& allocation) const
      PARTAGE_REQUIRES(mutex_);
  bool StillFits(const PodRef& pod) PARTAGE_EXCLUDES(mutex_);
  std::optional<device::Allocation> InFlight(const PodRef& pod) const PARTAGE_EXCLUDES(mutex_);
  void Settle(const PodRef& pod, bool bound) PARTAGE_EXCLUDES(mutex_);

  Result<> Claim(const PodRef& pod, std::string_view node, std::chrono::milliseconds ttl, std::span<const PodUid> leaving,
                 const Placer& place, const device::QuotaTraits& traits) PARTAGE_EXCLUDES(mutex_);
  bool RenewClaim(const PodRef& pod, std::chrono::milliseconds ttl) PARTAGE_EXCLUDES(mutex_);
  void DropClaim(const PodRef& pod) PARTAGE_EXCLUDES(mutex_);
  std::optional<std::string> ClaimedNode(const PodRef& pod) const PARTAGE_EXCLUDES(mutex_);
  std::optional<std::string> NodeWithRipeClaim(std::span<const std::string> nodes) const PARTAGE_EXCLUDES(mutex_);
  void NoteEvicted(const PodUid& uid) PARTAGE_EXCLUDES(mutex_);
  std::optional<Tenancy> Inspect(std::string_view node) const PARTAGE_EXCLUDES(mutex_);
  std::optional<PodRef> Who(const PodUid& uid) const PARTAGE_EXCLUDES(mutex_);
  std::int32_t lowest_priority() const { return lowest_priority_.load(std::memory_order_relaxed); }

  std::vector<std::string> TakeFreedNodes() PARTAGE_EXCLUDES(mutex_);
  bool TakeFreedQuota() PARTAGE_EXCLUDES(mutex_);
  void VisitQuotas(const std::function<void(const QuotaLedger::Entry&)>& visit) const PARTAGE_EXCLUDES(mutex_);
  Counts counts() const PARTAGE_EXCLUDES(mutex_);
  void VisitPods(std::string_view node, const std::function<void(const PodEntry&)>& visit) const PARTAGE_EXCLUDES(mutex_);
  Result<> CheckInvariants() const PARTAGE_EXCLUDES(mutex_);

 private:
  /// What is known of a node besides its devices.
  struct Node {
    std::uint64_t resource_version = 0;
    std::uint64_t touched = 0;
    std::string inventory_error;
    std::uint32_t troubled_pods = 0;
    bool freed = false;
  };
  struct Held {
    device::Allocation allocation;
    Clock::Mono until{};  // nominal only
    device::QuotaTraits traits;
  };
  using UidMap = std::unordered_map<PodUid, Held, PodUid::Hash>;

  Node& NodeOf(NodeId id) PARTAGE_REQUIRES(mutex_);
  NodeId Open(std::string_view name) PARTAGE_REQUIRES(mutex_);
  void SetInventory(NodeId id, device::NodeInventory inventory) PARTAGE_REQUIRES(mutex_);
  void MarkFreed(NodeId id) PARTAGE_REQUIRES(mutex_);
  void RefreshQuarantine(NodeId id) PARTAGE_REQUIRES(mutex_);
  void DropIfEmpty(NodeId id) PARTAGE_REQUIRES(mutex_);
  void Vanish(NodeId id) PARTAGE_REQUIRES(mutex_);

  std::vector<device::UuidUsage> UsageOf(const PodRecord& record) const PARTAGE_REQUIRES(mutex_);
  void Match(PodRecord& record, const std::vector<device::UuidUsage>& usage, const std::string& error) PARTAGE_REQUIRES(mutex_);
  PodRecord& Put(const PodRef& pod, NodeId node, ShareState state, const std::vector<device::UuidUsage>& usage, const std::string& error,
                 std::uint64_t version) PARTAGE_REQUIRES(mutex_);
  void NoteAbout(PodRecord& record, const PodObservation& seen) PARTAGE_REQUIRES(mutex_);
  bool Remove(const PodUid& uid) PARTAGE_REQUIRES(mutex_);
  static PodRef RefOf(const PodRecord& record) {
    return {std::string(record.name.ns()), std::string(record.name.name()), record.uid.ToString(), record.priority};
  }
  bool SameShare(const PodRecord& record, const PodObservation& pod) const PARTAGE_REQUIRES(mutex_);

  /// `block` is the node's, or a trial's.
  Result<device::Allocation> Place(const PodRef& pod, NodeId id, const Block& block, const Placer& place,
                                   const device::QuotaTraits& traits) const PARTAGE_REQUIRES(mutex_);
  Result<device::Allocation> Place(const PodRef& pod, NodeId id, const Placer& place, const device::QuotaTraits& traits) const
      PARTAGE_REQUIRES(mutex_) {
    return Place(pod, id, table_.block(id), place, traits);
  }
  Result<Block> WithoutLeaving(NodeId id, std::span<const PodUid> leaving) const PARTAGE_REQUIRES(mutex_);
  std::optional<Held> TakeClaim(const PodUid& uid) PARTAGE_REQUIRES(mutex_);
  void Hold(const PodRef& pod, NodeId id, ShareState state, Held held) PARTAGE_REQUIRES(mutex_);
  bool RipeClaimOn(NodeId id) const PARTAGE_REQUIRES(mutex_);
  bool IsClaimed(const PodUid& uid) const PARTAGE_REQUIRES(mutex_);
  Result<> RefuseIfHeld(const PodRef& pod, const PodUid& uid) const PARTAGE_REQUIRES(mutex_);
  void PublishLocked() PARTAGE_REQUIRES(mutex_);
  Result<> CheckNode(NodeId id) const PARTAGE_REQUIRES(mutex_);

  const Clock& clock_;
  mutable Mutex mutex_;
  NodeTable table_ PARTAGE_GUARDED_BY(mutex_);
  std::vector<Node> nodes_ PARTAGE_GUARDED_BY(mutex_);  // by NodeId
  PodLedger pods_ PARTAGE_GUARDED_BY(mutex_);
  QuotaLedger quotas_ PARTAGE_GUARDED_BY(mutex_);
  UidMap nominal_ PARTAGE_GUARDED_BY(mutex_);  // claims too
  UidMap reserved_ PARTAGE_GUARDED_BY(mutex_);
  std::uint64_t pod_lists_ PARTAGE_GUARDED_BY(mutex_) = 0;   // that were read to their end
  std::vector<PodUid> doubtful_ PARTAGE_GUARDED_BY(mutex_);  // that the last full list left so, some of them settled by now
  std::vector<NodeId> freed_ PARTAGE_GUARDED_BY(mutex_);
  std::map<std::string, std::uint64_t, std::less<>> forgotten_nodes_ PARTAGE_GUARDED_BY(mutex_);
  std::uint64_t sequence_ PARTAGE_GUARDED_BY(mutex_) = 1;
  std::uint64_t node_list_began_ PARTAGE_GUARDED_BY(mutex_) = 0;
  std::uint64_t pod_list_began_ PARTAGE_GUARDED_BY(mutex_) = 0;
  std::atomic<std::int32_t> lowest_priority_ = std::numeric_limits<std::int32_t>::max();
  // Held for the copy of a pointer only, so that readers never wait for mutex_. Not std::atomic<std::shared_ptr>: libstdc++ 12 unlocks its
  // readers with relaxed order, a data race with the next store.
  mutable Mutex published_mutex_;
  std::shared_ptr<const Snapshot> published_ PARTAGE_GUARDED_BY(published_mutex_);
};

}  // namespace partage::scheduler

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/container/small_vector.hpp>

#include "base/clock.h"
#include "base/result.h"
#include "device/allocation.h"
#include "device/device.h"
#include "scheduler/state/pod_uid.h"
#include "scheduler/state/quota_ledger.h"
#include "scheduler/state/snapshot.h"

namespace partage::scheduler {

/// Which pod. `uid` decides; the names are for people.
struct PodRef {
  std::string ns, name, uid;
  std::int32_t priority = 0;  ///< spec.priority, where whoever speaks of the pod knows it
  std::string FullName() const { return ns + "/" + name; }
};

/// What a watch says of a node.
struct NodeObservation {
  std::string name, uid;
  std::uint64_t resource_version = 0;
  device::NodeInventory inventory;  ///< empty: the node publishes none
  std::string inventory_error;      ///< not empty: the inventory could not be read. The last good one stays, the node is quarantined
};

/// What a watch says of a pod.
struct PodObservation {
  PodRef pod;
  std::uint64_t resource_version = 0;
  std::string node;                              ///< spec.nodeName; empty: not bound
  bool finished = false;                         ///< Succeeded or Failed
  bool terminating = false;                      ///< deleted, but its containers may still run
  std::uint32_t created = 0;                     ///< seconds since 1970
  std::vector<device::UuidUsage> usage;          ///< from its allocation; empty: takes nothing
  std::vector<device::VendorUsage> quota_usage;  ///< the same, as quotas count it
  device::QuotaTraits quota_traits;
  std::string allocation_error;  ///< not empty: it holds devices but nobody can say which. Its node is quarantined while it lives
};

class Cluster;

/// A share held for one pod while its Binding is written. Gives the share back in its destructor unless Commit was called.
/// Movable; used by one thread at a time. The Cluster must outlive it.
class Reservation {
 public:
  Reservation(Cluster& cluster, PodRef pod, device::Allocation allocation, device::NodeInventory::Dialect dialect);
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&&) = delete;
  ~Reservation();

  /// The Binding is known to be written: the share is the pod's until a watch says otherwise.
  void Commit();
  /// Keeps the share held although this object goes away: the outcome of the write is unknown. Cluster::Settle or a watch event ends it.
  void LeaveUnresolved();

  const PodRef& pod() const { return pod_; }
  const device::Allocation& allocation() const { return allocation_; }
  device::NodeInventory::Dialect dialect() const { return dialect_; }

 private:
  Cluster* cluster_;
  PodRef pod_;
  device::Allocation allocation_;
  device::NodeInventory::Dialect dialect_;
};

/// All that is known of nodes, devices and pods: the ledger. The truth lies in the API server (inventories on nodes, allocations on pods); this is derived from
/// it and from the bindings in flight, and can be rebuilt at any time. Thread-safe: one mutex for writers, held for microseconds and never across I/O;
/// readers copy the pointer to the snapshot under a lock of its own, which no writer holds while it works.
///
/// A pod's share:
///
///        Nominate            Reserve             Commit / seen bound by a watch
///   (none) ─────▶ Nominal ─────────▶ Reserved ──────────────────────────▶ Bound
///      ▲            │  next filter,   │  ▲        │ LeaveUnresolved            │ finished, deleted,
///      │            │  time-out,      │  └────────┘ (held till settled)        │ or not in a full list
///      │            ▼  pod gone       ▼ given back (bind refused)              ▼
///      └────────────┴────────────────┴─────────────────────────────────────────┘
///
/// A claim is a nominal share whose room is still taken by pods that are being evicted for it: Claim books it on top of theirs, so that what they leave behind
/// is nobody else's. It ends as a nominal share does, or becomes one with the pod's next filter that finds the room free.
///
/// Idempotent: the same observation twice changes nothing; an observation older (by resourceVersion) than one already seen, or of a pod known to be
/// deleted or finished, is ignored, so events in any order end in the same state.
/// Invariants (CheckInvariants): per device, free = total − Σ shares of the pods known on it; Reserve and Nominate never let Σ exceed capacity. Only a claim
/// does, by what the pods that leave for it hold.
class Cluster {
 public:
  explicit Cluster(const Clock& clock);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  /// The newest published state; held up by no writer.
  std::shared_ptr<const Snapshot> snapshot() const;

  // --- Observations. They take effect in the ledger at once and in the snapshot with the next Publish. ---
  void ObserveNode(NodeObservation node);
  void ForgetNode(std::string_view name, std::uint64_t resource_version);
  void ObservePod(PodObservation pod);
  void ForgetPod(const PodRef& pod);
  /// A full list follows; at its end, what it did not name and was known before it began is gone.
  void BeginNodeList();
  void EndNodeList();
  void BeginPodList();
  void EndPodList();
  struct Doubts {
    std::uint64_t list = 0;  ///< the last full list
    std::vector<PodRef> pods;
  };
  /// Pods that hold a share because our own Binding was answered, and that neither the last full list nor a watch since has shown bound. Nearly always the watch
  /// is about to; but a pod that was gone before that list, or that had finished when it was bound, none will ever show. Whoever asks the API server
  /// tells the answer by ConfirmPod or ForgetPod. Cheap where there are none.
  Doubts DoubtfulPods();
  /// A pod of DoubtfulPods, read after that call, lives: then it was bound after `list`, and the watch will tell of its end. Nothing when there has been another
  /// full list since, which may not have named it because it ended meanwhile.
  void ConfirmPod(const PodRef& pod, std::uint64_t list);
  /// Makes pending changes visible to readers.
  void Publish();

  /// Quotas bind Nominate and Reserve from now on; they take nothing back that is held already.
  void ObserveQuota(QuotaObservation quota);
  void ForgetQuota(std::string_view ns, std::string_view name);
  void BeginQuotaList();
  void EndQuotaList();

  enum class ShareState : std::uint8_t { kNominal, kClaimed, kReserved, kBound };

  // --- Decisions. Visible in the snapshot when they return. ---

  /// Chooses devices on a node, given its current state under the writer's lock. Must be pure and quick. An error refuses.
  using Placer = std::function<Result<device::Allocation>(const Block& block, std::uint32_t row)>;

  /// Holds a share for `pod` on `node` until `ttl` has passed, Reserve or DropNominal. Replaces the pod's earlier nominal share.
  /// kConflict: the pod is already bound or its bind is in flight. kNotFound: no such node. kInvalid: a quota does not allow it. The placer's own error
  /// otherwise; nothing is held then.
  Result<> Nominate(const PodRef& pod, std::string_view node, std::chrono::milliseconds ttl, const Placer& place,
                    const device::QuotaTraits& traits = {});
  /// Ends the pod's nominal share, if it has one. A claim stays.
  void DropNominal(const PodRef& pod);
  /// The node of the pod's nominal share or claim.
  std::optional<std::string> NominalNode(const PodRef& pod) const;
  /// Ends nominal shares whose time has passed; returns how many.
  std::size_t ExpireNominals();

  /// Takes the share for a Binding: the nominal one where it lies on this node (same devices), else `place` decides.
  /// kConflict: already bound or in flight; the message says where. kNotFound: no such node, or the pod is known to be gone. kInvalid: a quota does not
  /// allow it. Else the placer's error.
  Result<Reservation> Reserve(const PodRef& pod, std::string_view node, const Placer& place, const device::QuotaTraits& traits = {});

  /// Why the quotas of its namespace leave a pod with this request no room, whatever node it goes to; nullopt when they may. Nominate and Reserve judge the
  /// very devices.
  std::optional<std::string> QuotaRefusal(std::string_view ns, const device::PodRequest& request) const;
  /// Why they would leave it none even if it were the only pod, as far as quotas without scopes say.
  std::optional<std::string> QuotaRefusalAlone(std::string_view ns, const device::PodRequest& request) const;
  /// The same of a pod that would be given exactly this.
  std::optional<std::string> QuotaRefusal(std::string_view ns, const device::QuotaTraits& traits,
                                          const device::Allocation& allocation) const;

  /// Whether a share that is reserved would be given again now, on the same devices and under the same quotas, beside all that has become known since. False
  /// when none is.
  bool StillFits(const PodRef& pod);

  /// A bind of this pod whose outcome is unknown or still in flight: where. nullopt otherwise.
  std::optional<device::Allocation> InFlight(const PodRef& pod) const;
  /// Ends an unresolved bind: bound keeps the share, otherwise it is given back. No effect when a watch has settled it already.
  void Settle(const PodRef& pod, bool bound);

  // --- Preemption. ---

  /// Books `pod` on `node` for `ttl` on top of the shares of `leaving` and of every pod there that is terminating: `place` sees the node without them.
  /// Replaces the pod's nominal share or claim. A Nominate that refuses leaves the claim as it is.
  /// kConflict: bound already, or its bind is in flight, or one of `leaving` no longer holds a share of that node. Otherwise as Nominate.
  Result<> Claim(const PodRef& pod, std::string_view node, std::chrono::milliseconds ttl, std::span<const PodUid> leaving,
                 const Placer& place, const device::QuotaTraits& traits = {});
  /// The claim lasts for `ttl` from now. False when the pod has none.
  bool RenewClaim(const PodRef& pod, std::chrono::milliseconds ttl);
  void DropClaim(const PodRef& pod);
  /// The node of the pod's claim.
  std::optional<std::string> ClaimedNode(const PodRef& pod) const;
  /// The first of these nodes with a claim whose room has come free.
  std::optional<std::string> NodeWithRipeClaim(std::span<const std::string> nodes) const;
  /// The pod has been evicted: its share comes free without anyone doing more.
  void NoteEvicted(const PodUid& uid);

  /// One pod with a share on a node.
  struct Tenant {
    PodUid uid;
    std::int32_t priority = 0;
    std::uint32_t created = 0;
    ShareState state = ShareState::kBound;
    bool terminating = false;
    bool troubled = false;  ///< what it holds is not known for certain
    boost::container::small_vector<PositionUsage, 1> shares;
  };
  /// One node at one moment, for trials: `block` holds it alone, at `row`, with the shares of all tenants taken off.
  struct Tenancy {
    Block block;
    std::uint32_t row = 0;
    std::vector<Tenant> tenants;
  };
  /// nullopt when there is no such node.
  std::optional<Tenancy> Inspect(std::string_view node) const;
  /// Who has this UID, if it holds a share; `uid` as the API server writes it.
  std::optional<PodRef> Who(const PodUid& uid) const;
  /// No pod that ever held a share had a lower priority: a pod of this one has nobody to preempt.
  std::int32_t lowest_priority() const;

  // --- For requeueing, metrics, people. ---

  /// Nodes on which something became free since the last call (share ended, capacity grew, quarantine lifted), by name.
  std::vector<std::string> TakeFreedNodes();

  /// Whether, since the last call, quotas have come to leave more room.
  bool TakeFreedQuota();
  /// Every limit a quota sets. The views are valid during the call only.
  void VisitQuotas(const std::function<void(const QuotaLedger::Entry&)>& visit) const;

  struct Counts {
    std::size_t nodes = 0, devices = 0, pods_bound = 0, reserved = 0, nominal = 0, claimed = 0, quarantined_nodes = 0;
    std::size_t overcommitted_devices = 0;  ///< Σ shares without claims > capacity: the node shrank, or two writers
  };
  Counts counts() const;

  struct PodEntry {
    std::string_view ns, name;
    PodUid uid;
    ShareState state;
    std::vector<device::UuidUsage> usage;
    std::string_view allocation_error;
    std::int32_t priority = 0;
  };
  /// Every pod with a share on this node. The views are valid during the call only.
  void VisitPods(std::string_view node, const std::function<void(const PodEntry&)>& visit) const;

  /// Recomputes everything from the pods known and compares; kInternal names the first difference. Costs a full pass.
  Result<> CheckInvariants() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// "nominal", "claimed", "reserved", "bound".
std::string_view ToString(Cluster::ShareState state);

}  // namespace partage::scheduler

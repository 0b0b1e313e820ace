// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "device/allocation.h"
#include "scheduler/state/pod_uid.h"

namespace partage::scheduler {

/// One hard limit of a ResourceQuota on a vendor's devices.
struct QuotaLimit {
  enum class Of : std::uint8_t { kMemory, kCores };
  std::string key;  ///< as in spec.hard: "limits.nvidia.com/gpumem"
  std::string vendor;
  Of of = Of::kMemory;
  std::int64_t most = 0;  ///< MiB or percent of cards, over all pods together; 0 allows none
  bool operator==(const QuotaLimit&) const = default;
};

/// A condition on the pods that a quota counts, already known to be well-formed.
struct QuotaScope {
  enum class Trait : std::uint8_t { kTerminating, kBestEffort, kCrossNamespaceAffinity, kPriorityClass };
  Trait trait = Trait::kTerminating;
  bool negated = false;
  std::vector<std::string> classes;  ///< of kPriorityClass: one of these; empty: any
  bool operator==(const QuotaScope&) const = default;
};

/// What a watch says of a ResourceQuota.
struct QuotaObservation {
  std::string ns, name;
  std::uint64_t resource_version = 0;
  std::vector<QuotaLimit> limits;  ///< empty: it does not concern devices
  std::vector<QuotaScope> scopes;  ///< all must hold
  std::string error;               ///< not empty: a limit on devices cannot be read. Then nothing more is handed out in its namespace
  std::string FullName() const { return ns + "/" + name; }
};

/// What pods hold of each vendor's devices by namespace, and what its quotas leave. Sums are kept by the traits that scopes ask for, so that a quota that
/// comes late counts the pods that are there already. Pure book-keeping. Not thread-safe: guarded by Cluster's mutex.
class QuotaLedger {
 public:
  using Usage = std::vector<device::VendorUsage>;

  /// What one pod was charged, to be given back. Trivial and small: there is one in every pod's record.
  struct Charge {
    std::uint32_t group = kNone;  ///< kNone: nothing was charged
    std::uint32_t mib = 0, cores = 0;
    static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  };

  /// Charges a pod. REQUIRES: what it was charged before has been given back.
  Charge Take(const PodUid& uid, std::string_view ns, const device::QuotaTraits& traits, const Usage& usage);
  void GiveBack(const PodUid& uid, const Charge& charge);
  /// Whether the pod of this charge is counted as one of these traits.
  bool HasTraits(const Charge& charge, const device::QuotaTraits& traits) const;

  /// Idempotent; an older resourceVersion than the known one is ignored.
  void Observe(QuotaObservation quota);
  void Forget(std::string_view ns, std::string_view name);
  /// A full list follows; at its end, quotas it did not name are gone.
  void BeginList();
  void EndList();

  /// Why a pod that would take `usage` more is over some quota; nullopt: it is not.
  std::optional<std::string> Refusal(std::string_view ns, const device::QuotaTraits& traits, const Usage& usage) const;
  /// Why it would be even if it were the only pod, as far as quotas without scopes say.
  std::optional<std::string> RefusalAlone(std::string_view ns, const Usage& usage) const;
  /// Whether some quota limits devices in this namespace. Cheap.
  bool Limits(std::string_view ns) const;

  /// Whether, since the last call, something was given back under a quota, or a quota was relaxed.
  bool TakeFreed() { return std::exchange(freed_, false); }

  struct Entry {
    std::string_view ns, name, key;
    std::int64_t used = 0, most = 0;
  };
  /// Every limit, in order of namespace, quota and key.
  void Visit(const std::function<void(const Entry&)>& visit) const;

  /// kInternal when the sums differ from these charges, which must be all there are.
  Result<> CheckSums(const std::vector<std::pair<PodUid, Charge>>& charges) const;

 private:
  struct Sum {
    std::int64_t mib = 0, cores = 0, pods = 0;
    bool operator==(const Sum&) const = default;
  };
  /// Pods of one namespace with the same traits, on one vendor's devices.
  struct Group {
    std::string ns, vendor;
    device::QuotaTraits traits;
    Sum sum;
  };
  struct Known {
    QuotaObservation quota;
    bool listed = false;
  };
  struct Space {
    std::vector<std::uint32_t> groups;
    std::map<std::string, Known, std::less<>> quotas;
  };
  using Spaces = std::map<std::string, Space, std::less<>>;

  Charge TakeOne(Space& space, std::string_view ns, const device::QuotaTraits& traits, const device::VendorUsage& usage);
  void GiveBackOne(const Charge& charge);
  std::uint32_t GroupOf(Space& space, std::string_view ns, const device::QuotaTraits& traits, std::string_view vendor);
  Sum Used(const Space& space, const QuotaObservation& quota, std::string_view vendor) const;
  template <class Asks, class UsedBefore>
  std::optional<std::string> FirstRefusal(std::string_view ns, const Usage& usage, Asks asks, UsedBefore used_before) const;
  void DropIfEmpty(Spaces::iterator space);

  Spaces spaces_;
  std::vector<Group> groups_;
  std::vector<std::uint32_t> free_groups_;
  std::unordered_map<PodUid, std::vector<Charge>, PodUid::Hash> more_;  // of pods with devices of several vendors: all but the first
  bool freed_ = false;
};

}  // namespace partage::scheduler

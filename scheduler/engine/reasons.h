// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "device/request.h"

namespace partage::scheduler {

/// Why a node or device does not take a pod, from "hopeless" to "nearly": of a node's devices, the one that came farthest speaks for the node.
enum class Reason : std::uint8_t {
  kUnknownNode,    ///< not in the inventory at all
  kNoDevices,      ///< known, but publishes none
  kTooFewDevices,  ///< fewer devices than one container asks for
  kQuarantined,
  kUnhealthy,
  kCordoned,
  kMode,
  kType,
  kUuid,
  kNuma,  ///< enough devices fit, but not on one NUMA node
  kSlots,
  kHeldExclusively,  ///< held, or the pod wants an unused one
  kMemory,
  kCores,
  kNoCoresLeft,  ///< a request without cores on a device whose compute is all given away
  kSomeOnly,     ///< fewer devices fit than one container asks for
  kTogether,     ///< each container fits alone, not all at once
};

/// HAMi's name of the reason ("CardInsufficientMemory"), as users' alerts match it; also the metric label.
std::string_view HamiName(Reason reason);
/// The same for a pod that a namespace's quota holds back on every node.
inline constexpr std::string_view kHamiQuotaName = "ResourceQuotaNotFit";

/// A node's refusal with its arithmetic.
struct Shortfall {
  Reason reason = Reason::kUnknownNode;
  std::int64_t needed = 0;     ///< MiB, percent or devices, by reason
  std::int64_t free = 0;       ///< the most there is
  std::int64_t capacity = 0;   ///< of the device with the most capacity, when relevant
  std::int32_t position = -1;  ///< of the device that came farthest, in the inventory
  std::int32_t device = -1;    ///< its index, as people know it
  std::string detail;          ///< the quarantine's own words

  /// No eviction on the node could help.
  bool unresolvable() const;
  /// Fraction of the need that is missing, for finding the nearest node among those with one reason.
  double Distance() const;
};

/// Text that is the same for all nodes with this reason and need, so that kube-scheduler's event counts them together.
std::string GroupText(const Shortfall& shortfall);

/// The same with the node's own arithmetic: "… (nearest is GPU 3 of n1: 18112 MiB free, 2368 short)".
std::string NearestText(const Shortfall& shortfall, std::string_view node);

/// How near a refusal is to being overcome: the larger, the nearer.
using Nearness = std::tuple<bool, Reason, double>;
Nearness NearnessOf(const Shortfall& shortfall);

/// Counts refusals of many nodes by GroupText, making each text once. Not thread-safe.
class RefusalGroups {
 public:
  struct Group {
    Reason reason;
    std::string text;
    std::size_t nodes = 0;
  };
  /// The group's place in groups().
  std::uint32_t Add(const Shortfall& shortfall);
  /// In the order in which they were first met.
  const std::vector<Group>& groups() const { return groups_; }

 private:
  std::map<std::tuple<Reason, std::int64_t, bool>, std::uint32_t> places_;  // by all that GroupText looks at
  std::vector<Group> groups_;
};

}  // namespace partage::scheduler

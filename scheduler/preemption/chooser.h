// SPDX-License-Identifier: Apache-2.0
// Which pods to evict so that another fits. Pure functions of the ledger's state, judged by the engine's own fit, so that what is promised here is found free
// by the next filter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "scheduler/engine/ask.h"
#include "scheduler/state/cluster.h"

namespace partage::scheduler {

/// For whom room is to be made.
struct Wish {
  const Ask& ask;
  std::int32_t priority = 0;                                                ///< only pods of lower priority are victims
  std::function<bool(const PodUid&)> spared = [](auto&) { return false; };  ///< pods that must not be victims whatever their priority
};

/// The pods to evict from one node, as places in `tenancy.tenants`: the fewest that do; of as many, those of the lowest priorities (the highest of each set
/// compared first); of those, the youngest. Pods that are terminating count as gone. Empty: it fits without evicting anybody, at the latest once they are.
/// nullopt: not even all that may be evicted are enough, or more than `at_most` are needed.
/// Exact while that takes at most kTries trial fits, which is so on any ordinary node; beyond, a set of which none could be left out.
/// A victim is bound; pods between filter and bind, and pods whose share cannot be told, are left alone. Thread-safe.
std::optional<std::vector<std::uint32_t>> ChooseVictims(const Cluster::Tenancy& tenancy, const Wish& wish, std::size_t at_most);

inline constexpr int kTries = 20'000;

struct Plan {
  std::string node;
  std::vector<Cluster::Tenant> victims;  ///< empty: the pod fits there, at the latest once terminating pods are gone
};

/// The best of these nodes, by the same order over the nodes' victims, then the first of `nodes`. nullopt when none will do. Compares all nodes, or at least
/// kNodesCompared once one has been found. Microseconds a node. Thread-safe.
std::optional<Plan> ChoosePlan(const Cluster& cluster, std::span<const std::string_view> nodes, const Wish& wish);

inline constexpr std::size_t kNodesCompared = 2'000;

}  // namespace partage::scheduler

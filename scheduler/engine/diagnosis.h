// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "device/request.h"
#include "scheduler/engine/ask.h"
#include "scheduler/engine/reasons.h"
#include "scheduler/state/snapshot.h"

namespace partage::scheduler {

/// What one can change about a request.
enum class ChangeKind : std::uint8_t { kMemoryMib, kMemoryPercent, kCores, kCount, kConstraints };

/// "memoryMiB", "memoryPercent", "cores", "count", "constraints".
std::string_view ToString(ChangeKind kind);

/// One change that alone would let the pod be placed now. `container` is empty for constraints, whose numbers mean nothing: they would have to go.
struct Change {
  std::string container;
  ChangeKind kind = ChangeKind::kMemoryMib;
  std::int64_t from = 0, to = 0;
};

/// How a request stands with every node of a snapshot.
struct Diagnosis {
  static constexpr std::size_t kNamed = 10;

  std::vector<RefusalGroups::Group> groups;  ///< the nodes that refuse it, most first
  std::size_t fitting = 0;                   ///< nodes that would take it now
  std::vector<std::string> named;            ///< the first kNamed of them, by name
  std::string nearest_node;                  ///< empty when some node fits, or there are no nodes
  std::string nearest_text;                  ///< with its arithmetic
  std::vector<Change> changes;               ///< the smallest of each kind that helps, only when no node fits
};

/// The policies that decide for a request (PolicySet::For).
using ChainOf = std::function<PolicyChain(const device::PodRequest&)>;

/// Judges every node of the snapshot: milliseconds for thousands of nodes, some hundred with changes to look for. Pure, thread-safe.
Diagnosis Diagnose(const Snapshot& snapshot, const device::PodRequest& request, const ChainOf& chain_of);

}  // namespace partage::scheduler

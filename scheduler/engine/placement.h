// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "device/allocation.h"
#include "scheduler/engine/ask.h"
#include "scheduler/engine/reasons.h"

namespace partage::scheduler {

/// Chooses devices on one node for every container of the pod: first as the policies want them, container by container; if that dead-ends, by search over the
/// legal assignments (at most kSearchSteps device tries; a pod of ordinary size never comes near). What is returned is legal for the block as given. Pure,
/// thread-safe.
std::optional<device::Allocation> PlaceOnNode(const Block& block, std::uint32_t row, const Ask& ask);

inline constexpr int kSearchSteps = 20000;

/// Why the node cannot take the pod: the reason that is nearest to being overcome. REQUIRES: PlaceOnNode refused.
Shortfall ExplainNode(const Block& block, std::uint32_t row, const Ask& ask);
/// The same without Shortfall::device and ::detail, which lie in colder memory: for thousands of nodes of which one will be told in full.
Shortfall MeasureNode(const Block& block, std::uint32_t row, const Ask& ask);

}  // namespace partage::scheduler

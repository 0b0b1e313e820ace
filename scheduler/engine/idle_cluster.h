// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "scheduler/engine/ask.h"
#include "scheduler/state/snapshot.h"

namespace partage::scheduler {

/// The block as it would be if no pod ran there, every device were well and no node or device were closed.
Block Idle(const Block& block);

/// Why not even the idle cluster could take the pod, in the nearest node's words; nullopt when some node could, or when whole devices would do but finding
/// out whether they do together takes long. Pure, thread-safe.
std::optional<std::string> WhyNotWhenIdle(const Snapshot& snapshot, const Ask& ask);

}  // namespace partage::scheduler
